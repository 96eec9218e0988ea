"""Advice for keys and options that have another name in composer.

It is derived from the option files and from the tables of `foreign_words`.

Each function returns a sentence that says what to type, or an empty text if no name is near.
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

#: Suffixes of weight files.
WEIGHTS = (".safetensors", ".ckpt", ".gguf", ".pt", ".bin")
#: Groups whose options are chosen for a run, likeliest first.
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
    "recipe",
)
#: Keys of other tools for width and height in one.
SIZES = ("size", "resolution", "imagesize", "dimensions", "res")
_HUB = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/")


def for_option(group: str, name: str, folders: list[Path] | None = None) -> str:
    """Advise on `group=name` where there is no such option.

    Args:
        group: An existing group.
        name: The unknown option.
        folders: Directories of option files; `None` for those of the current directory.

    Returns:
        A sentence, or an empty text.
    """
    if group == "device" and (counted := re.fullmatch(r"(?:cuda|gpu|nvidia)?\W*(\d+)", name)):
        return f"Type device=cuda:{counted[1]}."
    known = catalogue(folders or conf_folders())
    matches = _in_group(known, group, name)
    if matches:
        return _type(known, group, matches)
    return not_yet(name) or _plugin(known, group, name) or _elsewhere(known, group, name) or _further(group, name)


def for_key(key: str, value: str | None, folders: list[Path] | None = None) -> str:
    """Advise on `key=value` where there is no such key.

    Args:
        key: The unknown key.
        value: Its value, if any.
        folders: Directories of option files; `None` for those of the current directory.

    Returns:
        A sentence, or an empty text.
    """
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
    if tracker := next((word for word in (plain(key), plain(value or "")) if word in PLUGINS), None):
        return _plugin(known, "callbacks", tracker)
    return _setting(known, key, value)


def for_flag(flag: str, following: str | None) -> str:
    """Advise on a flag that does not exist.

    Args:
        flag: Such as `--steps` or `--steps=20`.
        following: The next word of the command line, which may be the flag's value.

    Returns:
        A sentence, or an empty text.
    """
    name, _, value = flag.lstrip("-").partition("=")
    name = name.replace("-", "_")
    if not value and following is not None and not following.startswith("-") and "=" not in following:
        value = following
    known = catalogue(conf_folders())
    if name in root_keys(known):
        return f"Settings have no dashes: type {_assigned(known, name, name, value)}."
    return for_key(name, value)


def group_of(known: Catalogue, name: str) -> str | None:
    """Find the group that has an option of this name, in any spelling.

    Args:
        known: All options.
        name: Name of an option.

    Returns:
        The likeliest group, or `None`.
    """
    return next((group for group in GROUPS if _in_group(known, group, name)), None)


def typed(key: str, value: str | None) -> str:
    """Write an assignment as a shell needs it, with quotes around special characters.

    Args:
        key: Config key.
        value: Its value; `…` is written for none.

    Returns:
        `key=value` or `key="value"`.
    """
    value = "…" if value in (None, "") else value.strip("'\"")
    return f'{key}="{value}"' if re.search(r"[\s'(){}\[\];&|<>*?$#!]", value) else f"{key}={value}"


def _assigned(known: Catalogue, target: str, key: str, value: str | None) -> str:
    """An assignment with both key and value in composer's names."""
    if target in known:
        number = plain(value or "")
        if target == "device" and (number.isdigit() or number in ("", "true", "yes")):
            return f"device=cuda:{number}" if number.isdigit() else "device=cuda"
        matches = _in_group(known, target, value or "")
        if matches:
            return _spelled(target, matches[0])
        if target == "model" and value:
            return f"model=local {typed('model.source', value)}"
    if target == "guidance.rescale":
        return f"guidance=cfg {typed(target, value)}"
    return typed(target, value)


def _in_group(known: Catalogue, group: str, name: str) -> list[str]:
    """Options of a group that a name can mean, best first."""
    options, word = known.get(group, {}), plain(name)
    if not word:
        return []
    bare = re.sub(r"(?:discrete)?scheduler$|pipeline$", "", word)
    for spelling in (word, bare, re.sub(r"^k(?=euler|heun|lms|dpm)", "", bare).replace("ancestral", "a")):
        if VALUES.get(group, {}).get(spelling) in options:
            return [VALUES[group][spelling]]
        if same := _same(spelling, options):
            return [same]
    if group == "task" and "pipeline" in word:
        return [_task_of(word, options)]
    if group == "model":
        return list(_by_source(options, name))
    return _by_class(options, word)


def _same(name: str, known: Iterable[str]) -> str | None:
    """The known word that differs in case, dashes and dots only."""
    return next((word for word in known if plain(word) == plain(name)), None)


def _by_class(options: Catalogue, word: str) -> list[str]:
    """Options whose class has this name: those with the fewest other settings first, those for flow matching last."""
    targets = {name: str(content.get("_target_") or "") for name, content in options.items()}
    matches = [
        name for name, path in targets.items() if path and plain(path.rpartition(".")[2]) in (word, f"{word}scheduler")
    ]
    return sorted(matches, key=lambda name: (options[name].get("_kind_") != "diffusion", len(options[name]), name))


def _by_source(options: Catalogue, name: str) -> Iterator[str]:
    """Models with a source at the hub: by complete id, then by the repository's name, then by its owner's."""
    sources = {option: str(content.get("source") or "") for option, content in options.items()}
    hub_id = plain("/".join(_hub_id(name).split("/")[:2]))
    yield from (option for option, source in sources.items() if plain(source) == hub_id)
    repository = hub_id.rpartition("/")[2]
    yield from (
        option for option, source in sources.items() if plain(source).rpartition("/")[2] == repository != plain(source)
    )
    if "/" not in hub_id:
        yield from (option for option, source in sources.items() if plain(source).startswith(f"{hub_id}/"))


def _task_of(word: str, options: Iterable[str]) -> str:
    """The task of one of diffusers' pipeline classes."""
    parts = {**{plain(task): task for task in options}, **VALUES["task"]}
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
    """Advice for an option of another group."""
    for other in (candidate for candidate in GROUPS if candidate != group):
        if matches := _in_group(known, other, name):
            return f"It is one of {other}: type {_spelled(other, matches[0])}."
    return ""


def _further(group: str, name: str) -> str:
    """Advice for paths and ids of models, and for classes that an option file can name."""
    if group == "model" and ("/" in name or name.endswith(WEIGHTS) or Path(name).exists()):
        return f"Type model=local {typed('model.source', _hub_id(name))}."
    if group == "output" and re.search(r"[./]", name):
        return f"It chooses a file format; for a folder type {typed('output.folder', name)}."
    if group == "scheduler" and re.search(r"^(?:diffusers\.)?[A-Z]\w+Scheduler$", name):
        target = f"diffusers.{name.removeprefix('diffusers.')}"
        return f"No option has this class: an option file of your own can (`_target_: {target}`)."
    return ""


def _plugin(known: Catalogue, group: str, name: str) -> str:
    """Advice for an option of a plugin that is not installed or not in use, or for what an installed one does."""
    for plugin in set(everything()) - set(plugins()):
        if (group, name) in offered(plugin):
            return f"It comes with {plugin}, which {VARIABLE} leaves out."
    if name in PLUGINS and (option := PLUGINS[name].replace("-", "_")) in known.get("callbacks", {}):
        return f"Type {_spelled('callbacks', option)}."
    if name in PLUGINS:
        install = f"`pip install ./plugins/{PLUGINS[name]}` in composer's source folder"
        return f"It comes with a package that is not installed: {install}."
    return ""


def _setting(known: Catalogue, key: str, value: str | None) -> str:
    """Advice for a setting that was typed without its group."""
    leaf = plain(key.rpartition(".")[2])
    keys = dict.fromkeys(
        full for group in GROUPS[1:-1] for _, full in settings(known, group) if plain(full.rpartition(".")[2]) == leaf
    )
    return f"Type {' or '.join(typed(full, value) for full in list(keys)[:2])}." if keys else ""


def _hub_id(name: str) -> str:
    return _HUB.sub("", name.strip(" '\""))
