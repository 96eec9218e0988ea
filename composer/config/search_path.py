"""Directories of option files: the user's own, composer's, and those of installed plugins.

The contents of option files are not interpreted here, and no plugin is imported. Options of composer take precedence
over those of plugins, so installing a plugin changes no run that was possible before.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from composer.config.plugins import Plugin, plugins
from composer.errors import ComposerError
from composer.system.paths import expand_user

MAIN = "compose.yaml"
#: `./conf` is searched only if it contains this file, so that other Hydra projects are ignored.
MARKER = ".composer"


@cache
def packaged_conf() -> Path:
    """Find composer's own option files.

    Returns:
        `composer/conf` in a wheel, `../conf` in a checkout.

    Raises:
        RuntimeError: The installation is incomplete.
    """
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "conf", here.parent / "conf"):
        if (folder / MAIN).is_file():
            return folder
    raise RuntimeError(f"composer's config files are missing beside {here}: reinstall diffusion-composer")


def conf_folders(extra: str | None = None) -> list[Path]:
    """List the directories to search; the first that has an option wins.

    Args:
        extra: Directory of `--config-dir`.

    Returns:
        `extra`, the user's marked `./conf`, composer's own, those of plugins.

    Raises:
        ComposerError: The current directory was deleted.
    """
    return [*own_folders(extra), packaged_conf(), *(plugin.conf for plugin in plugins() if plugin.conf)]


def own_folders(extra: str | None = None) -> list[Path]:
    """List the user's own directories of option files.

    Args:
        extra: Directory of `--config-dir`.

    Returns:
        `extra` and the marked `./conf`, as far as there are such.

    Raises:
        ComposerError: The current directory was deleted.
    """
    try:
        local = Path.cwd() / "conf"
    except FileNotFoundError:
        raise ComposerError(
            "output.folder", ".", "the current folder was deleted meanwhile: change into another one"
        ) from None
    folders = [*([expand_user(extra)] if extra else []), *([local] if (local / MARKER).is_file() else [])]
    return [folder for folder in folders if folder.resolve() != packaged_conf()]


def options(group: str, folders: list[Path]) -> dict[str, str]:
    """List the options of a group.

    Args:
        group: Name of the group.
        folders: Directories to search; the first that has an option wins.

    Returns:
        Name → one-line description, in alphabetical order.
    """
    descriptions: dict[str, str] = {}
    for folder in folders:
        for file in option_files(folder / group):
            descriptions.setdefault(file.stem, describe(file))
    return dict(sorted(descriptions.items()))


def option_files(folder: Path) -> list[Path]:
    """List the option files of a group's directory.

    A name that begins with `_` is a part that options include by their defaults list.

    Args:
        folder: Directory of the group.

    Returns:
        Files in alphabetical order.
    """
    return sorted(file for file in folder.glob("*.yaml") if not file.stem.startswith("_"))


def offered(plugin: Plugin) -> list[tuple[str, str]]:
    """List the options that a plugin ships.

    Args:
        plugin: An installed plugin.

    Returns:
        Pairs of group and option.
    """
    if not plugin.conf:
        return []
    files = [file for file in sorted(plugin.conf.rglob("*.yaml")) if not file.stem.startswith("_")]
    return [(str(file.parent.relative_to(plugin.conf)), file.stem) for file in files if file.parent != plugin.conf]


def clashes() -> dict[tuple[str, str], list[Plugin]]:
    """Find options that several plugins offer and composer does not.

    Returns:
        (Group, option) → the plugins.
    """
    owners: dict[tuple[str, str], list[Plugin]] = {}
    for plugin in plugins():
        for option in offered(plugin):
            owners.setdefault(option, []).append(plugin)
    return {option: several for option, several in owners.items() if len(several) > 1 and not hidden(option)}


def hidden(option: tuple[str, str]) -> bool:
    """Whether composer has an option of the same name, which takes precedence over a plugin's.

    Args:
        option: Group and name.

    Returns:
        True if composer's own is used.
    """
    group, name = option
    return (packaged_conf() / group / f"{name}.yaml").is_file()


def refuse_clashes(config: Mapping[str, Any], choices: Mapping[str, Any]) -> None:
    """Refuse chosen options that depend on the order in which plugins are found.

    Args:
        config: A composed config.
        choices: Group → option, as Hydra records it, without list groups.

    Raises:
        ComposerError: Two plugins offer a chosen option.
    """
    for (group, name), owners in clashes().items():
        chosen = (
            [choices[group]] if group in choices else list(config.get(group) or ())
        )  # lists nest each option under its name
        if name in chosen:
            both = " and ".join(map(str, owners))
            raise ComposerError(
                group, name, f"{both} both offer it: uninstall one, or name those to use in COMPOSER_PLUGINS"
            )


def groups(folders: list[Path]) -> list[str]:
    """List all groups.

    Args:
        folders: Directories of option files.

    Returns:
        Names in alphabetical order, without Hydra's own.
    """
    names = {
        child.name for folder in folders for child in folder.iterdir() if child.is_dir() and any(child.glob("*.yaml"))
    }
    return sorted(names - {"hydra"})


def describe(file: Path) -> str:
    """Read the description of an option file.

    Args:
        file: An option file.

    Returns:
        Its first comment that is no `@package` header; empty without one.
    """
    for line in file.read_text("utf-8").splitlines():
        if line.startswith("#") and not line.lstrip("# ").startswith("@"):
            return line.lstrip("# ").strip()
        if line.strip() and not line.startswith("#"):
            break
    return ""
