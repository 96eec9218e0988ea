"""Translation of Hydra's errors into one line that names the key, the value and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from composer.config.catalogue import with_base
from composer.config.keys import LISTS, is_reserved
from composer.config.overrides import split
from composer.config.search_path import conf_folders, options, packaged_conf
from composer.config.spellings import for_key, for_option
from composer.config.yaml_limits import parsed, read_bounded_yaml
from composer.errors import ComposerError, suggest
from composer.system import interrupts

#: Most options that a message lists; for more it refers to `compose list`.
FEW = 12
#: Options that are suggested before others that have the same key.
_FIRST = {"task": ("img2img", "inpaint")}
#: Groups whose keys are at the root of the config.
_AT_ROOT = ("task",)


@contextmanager
def translate_errors(overrides: Sequence[str], config_dir: str | None) -> Iterator[None]:
    """Translate errors of Hydra, OmegaConf and the YAML reader that are raised inside the context.

    Args:
        overrides: The composed overrides.
        config_dir: Additional directory of option files.

    Yields:
        Nothing.

    Raises:
        ComposerError: In place of the original error, which is its cause.
        KeyboardInterrupt: The original error is the consequence of an interrupt.
    """
    try:
        yield
    except ComposerError:
        raise
    except Exception as error:
        interrupts.raise_if_interrupted(error)
        raise translate(
            error, [text for text in overrides if not text.startswith("hydra/")], conf_folders(config_dir)
        ) from error


def translate(error: BaseException, overrides: list[str], folders: list[Path]) -> ComposerError:
    """Find the override that caused an error by comparing it with the option files.

    Args:
        error: Error of Hydra, OmegaConf or the YAML reader.
        overrides: The composed overrides.
        folders: Directories of option files.

    Returns:
        The error to raise: key, value, reason, what to type instead.

    Raises:
        ComposerError: An option file of the user's own is not valid YAML.
    """
    if not str(error):  # Hydra wraps what it did not foresee
        error = error.__cause__ or error
    if not isinstance(error, (HydraException, OmegaConfBaseException)):
        for file in (
            file for folder in folders if folder != packaged_conf() for file in sorted(folder.rglob("*.yaml"))
        ):
            _content(file)
    hydras = _of_hydra(str(error), [folder for folder in folders if folder != packaged_conf()])
    if hydras:
        reason = "is about Hydra's own node; option files set nothing of Hydra's, which could run code: take it out"
        return ComposerError("config", hydras, reason)
    choices, given = _defaults(folders), set()
    misused = next(filter(None, (_misused(override, str(error), choices) for override in overrides)), None)
    if misused:
        return misused
    for override in overrides:
        _, key, value = split(override)
        if key in choices and value is not None:
            wrong = _unknown_option(key, value, folders)
            if wrong:
                return wrong
            choices[key] = _names(value)
            given.add(key)
    choices.update(
        {
            group: names
            for group, names in _chosen_by_task(choices.get("task", []), folders).items()
            if group not in given
        }
    )
    known = _known_keys(choices, folders)
    for override in overrides:
        prefix, key, value = split(override)
        if prefix or key in choices or key in known or key.startswith("hydra.") or value is None:
            continue
        if key == "hydra" or any(name.startswith(f"{key}.") for name in known):
            continue
        return _unknown_key(key, value, choices, known, folders)
    return _other(error, overrides)


def _misused(override: str, message: str, choices: Collection[str]) -> ComposerError | None:
    """Hydra's marks and `null` where they are not allowed; each as Hydra complains of it."""
    prefix, key, value = split(override)
    none = (
        f"{key}=[] is none of them"
        if key in LISTS
        else "leave it out"
        if key == "preset"
        else f"`compose list {key}` shows all"
    )
    if prefix == "~" and "Could not delete" in message and f"'{key}'" in message:
        reason = (
            f"can't be taken away: {none}" if key in choices else f"there is nothing to take away: {key}=VALUE sets it"
        )
        return ComposerError(key, value, reason)
    complaints = ("Multiple values", "more than once", "force-add of config groups")
    if prefix.startswith("+") and key in choices and any(complaint in message for complaint in complaints):
        return ComposerError(key, value, f"is chosen without a +: type {key}={value}")
    if prefix == "+" and "Could not append" in message and f"'{key}'" in message:
        return ComposerError(key, value and value.strip("'"), f"is there already: type {key}=VALUE, without a +")
    nothing = value == "null" and "must be a string or a list" in message
    if key in choices and (nothing or (not value and prefix != "~" and f"'{key}/'" in message)):
        return ComposerError(key, value, f"an option is chosen by its name: {none}")
    return None


def _of_hydra(message: str, folders: list[Path]) -> Path | None:
    """Find the option file that sets Hydra's own node, if Hydra rejects it before composer can."""
    if "hydra" not in message.partition("\n")[0]:  # further lines list where Hydra looked
        return None
    named = re.search(r"(?:In|merging) '([^']+)'", message)
    files = [
        file
        for folder in folders
        if named and (file := folder / f"{named[1]}.yaml").is_file() and "hydra" in file.read_text("utf-8")
    ]
    return next(
        iter([*files, *(file for folder in folders for file in sorted((folder / "hydra").rglob("*.yaml")))]), None
    )


def _content(file: Path) -> dict[str, Any]:
    """Read an option file.

    Raises:
        ComposerError: It is not valid YAML, or holds no mapping with text keys.
    """
    try:
        content = parsed(read_bounded_yaml("config", file))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ComposerError("config", file, f"is no YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(content or {}, dict):
        raise ComposerError("config", file, "must hold settings by their names: `key: value`")
    for key in content or {}:
        if not isinstance(key, str):
            raise ComposerError("config", file, f"a key must be text, and this one is {key!r}: put quotes around it")
    return content or {}


def _defaults(folders: list[Path]) -> dict[str, list[str]]:
    """Group → the options that compose.yaml chooses."""
    main = next(folder / "compose.yaml" for folder in folders if (folder / "compose.yaml").is_file())
    chosen: dict[str, list[str]] = {}
    listed = _content(main).get("defaults")
    if not listed:
        raise ComposerError(
            "config", main, "stands for composer's own compose.yaml and has no list of defaults: give it another name"
        )
    for entry in listed:
        if not isinstance(entry, str):  # `_self_`, or a file that is no option
            chosen.update({group: _names(value) for group, value in entry.items() if not group.startswith("override ")})
    return chosen


def _chosen_by_task(names: list[str], folders: list[Path]) -> dict[str, list[str]]:
    """Options that the task's own defaults list overrides, such as `override /guidance: none`."""
    chosen: dict[str, list[str]] = {}
    for file in filter(None, (_file("task", name, folders) for name in names)):
        for entry in _content(file).get("defaults") or []:
            keys = {} if isinstance(entry, str) else entry
            chosen.update(
                {
                    key.removeprefix("override /"): _names(value)
                    for key, value in keys.items()
                    if key.startswith("override /")
                }
            )
    return chosen


def _file(group: str, name: str, folders: list[Path]) -> Path | None:
    return next((file for folder in folders if (file := folder / group / f"{name}.yaml").is_file()), None)


def _names(value: object) -> list[str]:
    """`a`, `a,b` or `[a,b]` → names."""
    if isinstance(value, str):
        return [name.strip(" '\"") for name in value.strip("[] ").split(",") if name.strip(" '\"")]
    return [str(name) for name in value] if isinstance(value, Iterable) else []


def _unknown_option(group: str, value: str, folders: list[Path]) -> ComposerError | None:
    known = options(group, folders)
    for name in _names(value):
        if name not in known and not re.match(r"(choice|glob|range|interval|shuffle|sort|tag)\(|null$", value):
            few = known if len(known) <= FEW else ()
            near = for_option(group, name, folders)
            near = f" {near}" if near else suggest(name, known)
            return ComposerError(group, name, f"there is no such option.{near} `compose list {group}` shows all.", few)
    return None


def _known_keys(choices: dict[str, list[str]], folders: list[Path]) -> set[str]:
    """All dotted keys that the chosen options hold."""
    keys: set[str] = set()
    for group, names in choices.items():
        for name in names:
            file = _file(group, name, folders)
            if file is not None:
                content = with_base(file, _content(file), folders)
                keys.update(_dotted(content, "" if group in _AT_ROOT else f"{group}."))
    return keys


def _dotted(node: object, prefix: str) -> set[str]:
    if not isinstance(node, dict):
        return set()
    keys = {f"{prefix}{key}" for key in node if key != "defaults" and not is_reserved(str(key))}
    return keys.union(*(_dotted(value, f"{prefix}{key}.") for key, value in node.items() if not is_reserved(str(key))))


def _unknown_key(
    key: str, value: str, choices: dict[str, list[str]], known: set[str], folders: list[Path]
) -> ComposerError:
    group = key.split(".")[0] if key.split(".")[0] in choices else "task"
    usual = [*_defaults(folders).get(group, []), *_FIRST.get(group, ())]
    for option in (*usual, *options(group, folders)):
        if key in _known_keys({group: [option]}, folders):
            chosen = ",".join(choices.get(group, ()))
            return ComposerError(key, value.strip("'"), f"{group}={chosen} does not take it; {group}={option} does")
    if key not in choices and value in options(key, folders):
        return ComposerError(key, value, f"is an option group of your own, which is added with a plus: +{key}={value}")
    advice = for_key(key, value, folders)
    if advice:
        return ComposerError(key, value.strip("'"), f"there is no such key. {advice}")
    near = suggest(key, [*known, *choices])
    root = sorted(name for name in known if "." not in name and name not in ("task", *choices))
    return ComposerError(key, value, f"there is no such key.{near}", () if near else (*root, *choices))


def _other(error: BaseException, overrides: list[str]) -> ComposerError:
    """Translate an error that only Hydra's own message describes."""
    message = str(error).strip() or type(error).__name__
    at_fault = str(getattr(error, "override", None) or next((text for text in overrides if text in message), ""))
    _, key, value = split(at_fault)
    if "Ambiguous value" in message:
        return ComposerError(key, value, "several values make several runs: add -m")
    if key.startswith("hydra."):
        return ComposerError(key, value, "Hydra has no such key")
    if getattr(error, "override", None) is not None:
        return ComposerError(
            key, value, "can't be read; put quotes around a value with commas, brackets or spaces: key=\"'…'\""
        )
    first, *more = message.splitlines()
    return ComposerError(at_fault or "config", None, f"{first} {more[0]}" if first.endswith(":") and more else first)
