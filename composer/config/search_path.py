"""Where options come from: the user's own conf, the packaged conf, and in their turn installed packages.

Knows nothing about what the options mean; imports no plugin. What composer has, no plugin can take the
place of, so that installing one changes no run that was possible before.
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
#: A folder `conf` beside the user is searched only with this file in it, so that a foreign Hydra project is left alone.
MARKER = ".composer"


@cache
def packaged_conf() -> Path:
    """`composer/conf` in a wheel, `../conf` in a checkout."""
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "conf", here.parent / "conf"):
        if (folder / MAIN).is_file():
            return folder
    raise RuntimeError(f"composer's config files are missing beside {here}: reinstall diffusion-composer")


def conf_folders(extra: str | None = None) -> list[Path]:
    """Folders to search, first found wins: --config-dir, the user's marked ./conf, the packaged one, those of plugins."""
    return [*own_folders(extra), packaged_conf(), *(plugin.conf for plugin in plugins() if plugin.conf)]


def own_folders(extra: str | None = None) -> list[Path]:
    """The user's: --config-dir and the marked ./conf."""
    try:
        own = Path.cwd() / "conf"
    except FileNotFoundError:
        raise ComposerError(
            "output.folder", ".", "the current folder was deleted meanwhile: change into another one"
        ) from None
    folders = [*([expand_user(extra)] if extra else []), *([own] if (own / MARKER).is_file() else [])]
    return [folder for folder in folders if folder.resolve() != packaged_conf()]


def options(group: str, folders: list[Path]) -> dict[str, str]:
    """Options of a group → their one-line descriptions, by name."""
    found: dict[str, str] = {}
    for folder in folders:
        for file in option_files(folder / group):
            found.setdefault(file.stem, describe(file))
    return dict(sorted(found.items()))


def option_files(folder: Path) -> list[Path]:
    """Option files of a group's directory; a name that begins with `_` is a part that others include as defaults."""
    return sorted(file for file in folder.glob("*.yaml") if not file.stem.startswith("_"))


def offered(plugin: Plugin) -> list[tuple[str, str]]:
    """(group, option) of all option files that a plugin ships."""
    if not plugin.conf:
        return []
    files = [file for file in sorted(plugin.conf.rglob("*.yaml")) if not file.stem.startswith("_")]
    return [(str(file.parent.relative_to(plugin.conf)), file.stem) for file in files if file.parent != plugin.conf]


def clashes() -> dict[tuple[str, str], list[Plugin]]:
    """Options that more than one plugin offers and composer does not."""
    owners: dict[tuple[str, str], list[Plugin]] = {}
    for plugin in plugins():
        for option in offered(plugin):
            owners.setdefault(option, []).append(plugin)
    return {option: several for option, several in owners.items() if len(several) > 1 and not hidden(option)}


def hidden(option: tuple[str, str]) -> bool:
    """Whether composer has an option of this name itself, which then is the one that is used."""
    group, name = option
    return (packaged_conf() / group / f"{name}.yaml").is_file()


def refuse_clashes(config: Mapping[str, Any], choices: Mapping[str, Any]) -> None:
    """Check what a composed config is made of; `choices` are Hydra's own notes of it, which leave lists of options out.

    Raises:
        ComposerError: an option that two plugins offer, so that it would depend on the order in which they are found.
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
    """Names of all groups."""
    found = {
        child.name for folder in folders for child in folder.iterdir() if child.is_dir() and any(child.glob("*.yaml"))
    }
    return sorted(found - {"hydra"})


def describe(file: Path) -> str:
    """The first comment of an option file that is no `@package` header."""
    for line in file.read_text("utf-8").splitlines():
        if line.startswith("#") and not line.lstrip("# ").startswith("@"):
            return line.lstrip("# ").strip()
        if line.strip() and not line.startswith("#"):
            break
    return ""
