"""Composition by a config loader of composer's own: no global state of Hydra is used, and no target is instantiated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy, deepcopy
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import Any, cast

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.core.plugins import Plugins
from hydra.core.utils import setup_globals
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from composer.config.keys import LISTS, NODES
from composer.config.node_data import node_to_dict
from composer.config.overrides import split
from composer.config.search_path import conf_folders, own_folders, packaged_conf
from composer.config.yaml_limits import read_bounded_yaml, refuse_mark
from composer.errors import ComposerError

MAIN = "compose"
#: Keys of Hydra's node that differ between compositions.
NOTES = ("overrides.", "runtime.", "job.override_dirname")
_lock = RLock()


class _Files(ConfigRepository):
    """Option files that are read once for all configs of a request; Hydra reads them for each.

    Args:
        of: The repository whose files they are.
    """

    def __init__(self, of: ConfigRepository) -> None:
        self.sources = of.sources
        self._read: dict[str, ConfigResult | None] = {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Read an option file, or copy what was read of it: a composition changes what it is given."""
        if config_path not in self._read:
            self._read[config_path] = super().load_config(config_path)
        result = copy(self._read[config_path])
        if result is not None:
            result.config, result.defaults_list = deepcopy(result.config), deepcopy(result.defaults_list)
        return result

    def __deepcopy__(self, memo: dict[int, Any]) -> _Files:
        """Stay the same one, which Hydra copies for each composition."""
        return self


class Loader(ConfigLoaderImpl):
    """Config loader over the option directories that exist when it is created; made for one request.

    Option files may not set anything of Hydra's own: its callbacks, log handlers, launchers and search path can run
    code.

    Args:
        folders: Directories of option files; the first that has an option wins.

    Attributes:
        foreign: Those of the directories that are not composer's own.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        with hydra_1_3():
            super().__init__(_search_path(folders))
        self.repository = _Files(self.repository)
        self.foreign = [folder for folder in folders if folder != packaged_conf()]

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Compose overrides.

        Args:
            overrides: Prepared overrides.

        Returns:
            The config with Hydra's own node, which holds the output directory and the chosen options.

        Raises:
            ComposerError: An option file sets something of Hydra's own.
        """
        return self.load_configuration(MAIN, list(overrides), RunMode.RUN, from_shell=False)

    def settings(self, overrides: Sequence[str]) -> DictConfig:
        """Compose overrides and remove Hydra's own node.

        Args:
            overrides: Prepared overrides.

        Returns:
            The config.

        Raises:
            ComposerError: An option file sets something of Hydra's own.
        """
        config = self.compose(overrides)
        with open_dict(config):
            del config["hydra"]
        return config

    def load_configuration(self, config_name: str | None, overrides: list[str], *more: Any, **named: Any) -> DictConfig:
        """Compose a config as Hydra does, and refuse what option files set of Hydra's own.

        Args:
            config_name: Name of the main config file.
            overrides: Prepared overrides.
            more: As Hydra's.
            named: As Hydra's.

        Returns:
            The config with Hydra's own node.

        Raises:
            ComposerError: An option file sets something of Hydra's own, or several options exclude each other.
        """
        _refuse_lists(overrides)
        with hydra_1_3():
            config = super().load_configuration(config_name, overrides, *more, **named)
            if self.foreign:
                self._refuse_foreign(config, overrides)
        return config

    def get_group_options(self, group_name: str, *more: Any, **named: Any) -> list[str]:
        """List the options of a group for `glob(…)`, without the files that others include as defaults."""
        return [name for name in super().get_group_options(group_name, *more, **named) if not name.startswith("_")]

    def _process_config_searchpath(self, config_name: str | None, parsed_overrides: Any, repo: Any) -> None:
        """Refuse a search path in an option file: Hydra would search it and import the packages that it names."""
        loaded = None if config_name is None else repo.load_config(config_path=config_name)
        config = getattr(loaded, "config", None)
        named = OmegaConf.select(config, "hydra.searchpath") if isinstance(config, DictConfig) else None
        if named is not None:
            raise _refusal("searchpath", named, _file_of(loaded, MAIN))

    def _refuse_foreign(self, config: DictConfig, overrides: Sequence[str]) -> None:
        """Compare Hydra's node with the one that composer's own files and the typed overrides produce."""
        typed = tuple(word for word in overrides if split(word)[1].split(".")[0].split("/")[0] == "hydra")
        settings = _flat(node_to_dict(config.hydra, enum_to_str=True))
        try:
            expected = _packaged(typed)
        except Exception:  # chosen by name from a file that composer does not have
            expected = _packaged(())
        for key in [*settings, *expected]:
            if not key.startswith(NOTES) and (
                key not in settings or key not in expected or settings[key] != expected[key]
            ):
                raise _refusal(key, settings.get(key), self._culprit(overrides))

    def _culprit(self, overrides: Sequence[str]) -> str:
        """The file that sets something of Hydra's, among those that the config is composed of."""
        paths = [
            default.config_path
            for default in self.compute_defaults_list(MAIN, list(overrides), RunMode.MULTIRUN).defaults
        ]
        loaded = {path: self.repository.load_config(path) for path in reversed(paths) if path}
        files = [Path(_file_of(config, path)) for path, config in loaded.items() if config is not None]
        foreign = [file for file in files if any(file.is_relative_to(folder) for folder in self.foreign)]
        return str(
            next(
                (file for file in foreign if "hydra" in str(file) + file.read_text("utf-8")),
                foreign[0] if foreign else MAIN,
            )
        )


def _file_of(loaded: Any, path: str) -> str:
    """The file that was loaded; Hydra names its directory only."""
    folder = loaded.path.removeprefix("file://")
    return f"{folder}/{path}" if path.endswith(".yaml") else f"{folder}/{path}.yaml"


def loader(config_dir: str | None = None) -> Loader:
    """Create a loader over the user's, composer's and the plugins' directories.

    Args:
        config_dir: Additional directory of option files.

    Returns:
        The loader.

    Raises:
        ComposerError: An option file of the user's own is too long, or is not UTF-8 text without a byte order mark.
    """
    for folder in own_folders(config_dir):
        for file in folder.rglob("*.yaml"):
            read_bounded_yaml("--config-dir", file)
            refuse_mark("--config-dir", file)
    return Loader(conf_folders(config_dir))


@contextmanager
def hydra_1_3() -> Iterator[None]:
    """Set Hydra's version base to 1.3 inside the context, for one thread at a time, and restore it afterwards.

    Yields:
        Nothing.
    """
    with _lock:
        chosen = version.VersionBase.instance()
        before = chosen.version_base
        version.setbase("1.3")
        try:
            yield
        finally:
            chosen.version_base = before


def _search_path(folders: Sequence[Path]) -> ConfigSearchPathImpl:
    if not OmegaConf.has_resolver("now"):
        setup_globals()
    path = ConfigSearchPathImpl()
    path.append("hydra", "pkg://hydra.conf")
    for plugin in Plugins.instance().discover(SearchPathPlugin):
        cast(SearchPathPlugin, plugin()).manipulate_search_path(path)  # all that were discovered are of this kind
    for folder in folders:
        path.append("composer", f"file://{folder}")
    path.append("schema", "structured://")
    return path


@lru_cache(maxsize=64)
def _packaged(typed: tuple[str, ...]) -> dict[str, Any]:
    """Hydra's node as composer's own files alone produce it, by dotted keys."""
    config = Loader([packaged_conf()]).load_configuration(MAIN, list(typed), RunMode.MULTIRUN)
    return _flat(node_to_dict(config.hydra, enum_to_str=True))


def _flat(node: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Leaves of a tree by dotted key; an empty mapping is a leaf."""
    leaves: dict[str, Any] = {}
    for name, value in node.items():
        key = f"{above}{name}"
        leaves.update(_flat(value, f"{key}.") if isinstance(value, dict) and value else {key: value})
    return leaves


def _refuse_lists(overrides: Sequence[str]) -> None:
    """Refuse several options, or none, where exactly one is chosen.

    Hydra would merge the settings of all of them. Files whose name begins with `_` are no options.

    Raises:
        ComposerError: A list for such a group, a second option by `+`, or a name that begins with `_`.
    """
    for prefix, key, value in map(split, overrides):
        if prefix == "+" and key in NODES and key not in LISTS:  # Hydra does not notice if the option includes others
            raise ComposerError(key, value, f"is chosen without a +: type {key}={value}")
        if key in NODES and value and value.startswith("_"):
            raise ComposerError(key, value, f"there is no such option: `compose list {key}` shows all")
        if key not in NODES or key in LISTS or not value or not value.startswith("["):
            continue
        several = value.strip("[] ")
        if "," in several:
            raise ComposerError(
                key, value, f"one option is chosen: type {key}=NAME, or -m {key}={several} for a run of each"
            )
        if not several:
            raise ComposerError(key, value, f"an option is chosen by its name: `compose list {key}` shows all")


def _refusal(key: str, value: Any, file: str) -> ComposerError:
    instead = "output: {folder: DIR} chooses where files go" if key in ("run.dir", "sweep.dir") else "take it out"
    return ComposerError(
        f"hydra.{key}",
        value,
        f"comes from {file}; option files set nothing of Hydra's, which could run code: {instead}",
    )
