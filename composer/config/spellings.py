"""From what is called otherwise elsewhere to what to type here: read from the option files, and from the tables in
`words`.

Each function says in a sentence what to type, or nothing where no word is near.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from composer.config.catalogue import Catalogue, catalogue, root_keys, settings
from composer.config.foreign_words import KEYS, PLUGINS, VALUES, not_yet, plain
from composer.config.keys import LISTS
from composer.config.plugins import VARIABLE, everything, plugins
from composer.config.search_path import conf_folders, offered

#: Files of weights, by their ends.
WEIGHTS = (".safetensors", ".ckpt", ".gguf", ".pt", ".bin")
#: Groups whose options are chosen for a run, the likeliest first.
GROUPS = (
    "task",
    "scheduler",
    "model",
    "precision",
    "device",
    "memory",
    "accel",
    "callbacks",
    "guidance",
    "output",
    "preset",
)
#: Keys elsewhere for width and height in one.
SIZES = ("size", "resolution", "imagesize", "dimensions", "res")
_HUB = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/")


def for_option(group: str, name: str, folders: list[Path] | None = None) -> str:
    """For `group=name`, which is no option."""
    if group == "device" and (counted := re.fullmatch(r"(?:cuda|gpu|nvidia)?\W*(\d+)", name)):
        return f"Type device=cuda:{counted[1]}."
    known = catalogue(folders or conf_folders())
    own = _in_group(known, group, name)
    if own:
        return _type(known, group, own)
    return not_yet(name) or _plugin(group, name) or _elsewhere(known, group, name) or _further(group, name)


def for_key(key: str, value: str | None, folders: list[Path] | None = None) -> str:
    """For `key=value`, where there is no such key."""
    if missing := not_yet(key) or not_yet(key.rpartition(".")[2]):
        return missing
    if plain(key) in SIZES and (sides := re.fullmatch(r"(\d+)(?:\D+(\d+))?", value or "")):
        return f"Type width={sides[1]} height={sides[2] or sides[1]}."
    known = catalogue(folders or conf_folders())
    target = KEYS.get(plain(key)) or KEYS.get(plain(key.rpartition(".")[2])) or _same(key, root_keys(known))
    if target:
        return f"Type {_assigned(known, target, key, value)}."
    if group := group_of(known, key):
        return _type(known, group, _in_group(known, group, key))
    return _setting(known, key, value)


def for_flag(flag: str, following: str | None) -> str:
    """For `--flag`, where there is no such flag; `following` is the word after it."""
    name, _, value = flag.lstrip("-").partition("=")
    name = name.replace("-", "_")
    if not value and following is not None and not following.startswith("-") and "=" not in following:
        value = following
    known = catalogue(conf_folders())
    if name in root_keys(known):
        return f"Settings have no dashes: type {_assigned(known, name, name, value)}."
    return for_key(name, value)


def group_of(known: Catalogue, name: str) -> str | None:
    """The group of which a name means an option."""
    return next((group for group in GROUPS if _in_group(known, group, name)), None)


def typed(key: str, value: str | None) -> str:
    """As a shell wants it: quotes around what has spaces."""
    value = "…" if value in (None, "") else value.strip("'\"")
    return f'{key}="{value}"' if re.search(r"[\s'(){}\[\];&|<>*?$#!]", value) else f"{key}={value}"


def _assigned(known: Catalogue, target: str, key: str, value: str | None) -> str:
    """A key with its value, this too in composer's words."""
    if target in known:
        number = plain(value or "")
        if target == "device" and (number.isdigit() or number in ("", "true", "yes")):
            return f"device=cuda:{number}" if number.isdigit() else "device=cuda"
        found = _in_group(known, target, value or "")
        if found:
            return _spelled(target, found[0])
        if target == "model" and value:
            return f"model=local {typed('model.source', value)}"
    if target == "guidance.rescale":
        return f"guidance=cfg {typed(target, value)}"
    return typed(target, value)


def _in_group(known: Catalogue, group: str, name: str) -> list[str]:
    """Options of a group that a name means, the best first."""
    there, word = known.get(group, {}), plain(name)
    if not word:
        return []
    bare = re.sub(r"(?:discrete)?scheduler$|pipeline$", "", word)
    for each in (word, bare, re.sub(r"^k(?=euler|heun|lms|dpm)", "", bare).replace("ancestral", "a")):
        if VALUES.get(group, {}).get(each) in there:
            return [VALUES[group][each]]
        if same := _same(each, there):
            return [same]
    if group == "task" and "pipeline" in word:
        return [_task_of(word, there)]
    if group == "model":
        return list(_by_source(there, name))
    return _by_class(there, word)


def _same(name: str, known: Iterable[str]) -> str | None:
    """The known word that differs in case, dashes and dots alone."""
    return next((each for each in known if plain(each) == plain(name)), None)


def _by_class(there: Catalogue, word: str) -> list[str]:
    """Options whose class has this name; those that set least besides come first, and those for flow matching last."""
    targets = {name: str(content.get("_target_") or "") for name, content in there.items()}
    found = [
        name for name, path in targets.items() if path and plain(path.rpartition(".")[2]) in (word, f"{word}scheduler")
    ]
    return sorted(found, key=lambda name: (there[name].get("_kind_") != "diffusion", len(there[name]), name))


def _by_source(there: Catalogue, name: str) -> Iterator[str]:
    """Models that come from a place at the hub: the whole id, then the repository's name, then its owner's."""
    sources = {option: str(content.get("source") or "") for option, content in there.items()}
    wanted = plain("/".join(_hub_id(name).split("/")[:2]))
    yield from (option for option, source in sources.items() if plain(source) == wanted)
    repository = wanted.rpartition("/")[2]
    yield from (
        option for option, source in sources.items() if plain(source).rpartition("/")[2] == repository != plain(source)
    )
    if "/" not in wanted:
        yield from (option for option, source in sources.items() if plain(source).startswith(f"{wanted}/"))


def _task_of(word: str, there: Iterable[str]) -> str:
    """The task of one of diffusers' pipeline classes."""
    parts = {**{plain(task): task for task in there}, **VALUES["task"]}
    return next((task for part, task in parts.items() if part in word and part != "fill"), "text2img")


def _type(known: Catalogue, group: str, found: list[str]) -> str:
    line, kind = f"Type {_spelled(group, found[0])}", known[group][found[0]].get("_kind_")
    flow = next((name for name in found[1:] if known[group][name].get("_kind_") == "flow" != kind), None)
    return f"{line}, or for a flow-matching model {_spelled(group, flow)}." if flow else f"{line}."


def _spelled(group: str, name: str) -> str:
    if group == "callbacks":
        return "callbacks=[progress]" if name == "progress" else f"callbacks=[progress,{name}]"
    return f"{group}=[{name}]" if group in LISTS else f"{group}={name}"


def _elsewhere(known: Catalogue, group: str, name: str) -> str:
    """An option of another group."""
    for other in (each for each in GROUPS if each != group):
        if found := _in_group(known, other, name):
            return f"It is one of {other}: type {_spelled(other, found[0])}."
    return ""


def _further(group: str, name: str) -> str:
    """Places of models, and classes for which an option file can be written."""
    if group == "model" and ("/" in name or name.endswith(WEIGHTS) or Path(name).exists()):
        return f"Type model=local {typed('model.source', _hub_id(name))}."
    if group == "output" and re.search(r"[./]", name):
        return f"It chooses a file format; for a place type {typed('output.folder', name)}."
    if group == "scheduler" and re.search(r"^(?:diffusers\.)?[A-Z]\w+Scheduler$", name):
        return f"No option has this class: an option file of your own can (`_target_: diffusers.{name.removeprefix('diffusers.')}`)."
    return ""


def _plugin(group: str, name: str) -> str:
    """An option of a package that is not installed, or that is not to be used."""
    for plugin in set(everything()) - set(plugins()):
        if (group, name) in offered(plugin):
            return f"It comes with {plugin}, which {VARIABLE} leaves out."
    if name in PLUGINS:
        return f"It comes with a package that is not installed: `pip install ./plugins/{PLUGINS[name]}` in composer's source folder."
    return ""


def _setting(known: Catalogue, key: str, value: str | None) -> str:
    """A setting whose group was left away."""
    leaf = plain(key.rpartition(".")[2])
    found = dict.fromkeys(
        full for group in GROUPS[1:-1] for _, full in settings(known, group) if plain(full.rpartition(".")[2]) == leaf
    )
    return f"Type {' or '.join(typed(full, value) for full in list(found)[:2])}." if found else ""


def _hub_id(name: str) -> str:
    return _HUB.sub("", name.strip(" '\""))
