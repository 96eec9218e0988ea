"""Hydra composes by an object of ours: no global state of Hydra's is touched, and nothing that a config says is
instantiated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import Any, cast

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.core.plugins import Plugins
from hydra.core.utils import setup_globals
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
#: What Hydra notes about each composition.
NOTES = ("overrides.", "runtime.", "job.override_dirname")
_lock = RLock()


class Loader(ConfigLoaderImpl):
    """Composes from the folders that there are when it is made; lives for one request.

    Option files may set nothing of Hydra's own, whose callbacks, log handlers, launchers and search path can run code.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        with hydra_1_3():
            super().__init__(_search_path(folders))
        self.foreign = [folder for folder in folders if folder != packaged_conf()]

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Prepared overrides → the config with Hydra's own node, which tells the folder and what was chosen."""
        return self.load_configuration(MAIN, list(overrides), RunMode.RUN, from_shell=False)

    def settings(self, overrides: Sequence[str]) -> DictConfig:
        """The same without that node."""
        config = self.compose(overrides)
        with open_dict(config):
            del config["hydra"]
        return config

    def load_configuration(self, config_name: str | None, overrides: list[str], *more: Any, **named: Any) -> DictConfig:
        _refuse_lists(overrides)
        with hydra_1_3():
            config = super().load_configuration(config_name, overrides, *more, **named)
            if self.foreign:
                self._refuse_foreign(config, overrides)
        return config

    def get_group_options(self, group_name: str, *more: Any, **named: Any) -> list[str]:
        """Options of a group, for `glob(…)`; files that others include as defaults are none."""
        return [name for name in super().get_group_options(group_name, *more, **named) if not name.startswith("_")]

    def _process_config_searchpath(self, config_name: str | None, parsed_overrides: Any, repo: Any) -> None:
        """Hydra would add these places, and import what is named as a package."""
        found = None if config_name is None else repo.load_config(config_path=config_name)
        config = getattr(found, "config", None)
        named = OmegaConf.select(config, "hydra.searchpath") if isinstance(config, DictConfig) else None
        if named is not None:
            raise _refusal("searchpath", named, _place(found, MAIN))

    def _refuse_foreign(self, config: DictConfig, overrides: Sequence[str]) -> None:
        """Hold Hydra's node against what composer's own files and the typed words alone make of it."""
        typed = tuple(word for word in overrides if split(word)[1].split(".")[0].split("/")[0] == "hydra")
        found = _flat(node_to_dict(config.hydra, enum_to_str=True))
        try:
            expected = _packaged(typed)
        except Exception:  # chosen by name from a file that composer does not have
            expected = _packaged(())
        for key in [*found, *expected]:
            if not key.startswith(NOTES) and (key not in found or key not in expected or found[key] != expected[key]):
                raise _refusal(key, found.get(key), self._culprit(overrides))

    def _culprit(self, overrides: Sequence[str]) -> str:
        """The file that speaks of Hydra, among those that a config is composed of."""
        paths = [
            each.config_path for each in self.compute_defaults_list(MAIN, list(overrides), RunMode.MULTIRUN).defaults
        ]
        loaded = {path: self.repository.load_config(path) for path in reversed(paths) if path}
        files = [Path(_place(found, path)) for path, found in loaded.items() if found is not None]
        own = [file for file in files if any(file.is_relative_to(folder) for folder in self.foreign)]
        return str(
            next((file for file in own if "hydra" in str(file) + file.read_text("utf-8")), own[0] if own else MAIN)
        )


def _place(loaded: Any, path: str) -> str:
    """The file that was loaded, of which Hydra tells the folder."""
    folder = loaded.path.removeprefix("file://")
    return f"{folder}/{path}" if path.endswith(".yaml") else f"{folder}/{path}.yaml"


def loader(config_dir: str | None = None) -> Loader:
    """Of the user's folders, composer's and the plugins', as they are now.

    Raises:
        ComposerError: an option file of the user's is out of all bounds, or of an encoding that Hydra does not read.
    """
    for folder in own_folders(config_dir):
        for file in folder.rglob("*.yaml"):
            read_bounded_yaml("--config-dir", file)
            refuse_mark("--config-dir", file)
    return Loader(conf_folders(config_dir))


@contextmanager
def hydra_1_3() -> Iterator[None]:
    """Hydra as of that version in here, one thread at a time, and as the program around has chosen it afterwards."""
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
    """Hydra's node by dotted keys, as composer's files alone make it."""
    config = Loader([packaged_conf()]).load_configuration(MAIN, list(typed), RunMode.MULTIRUN)
    return _flat(node_to_dict(config.hydra, enum_to_str=True))


def _flat(node: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Leaves by dotted key; a mapping of nothing is one."""
    found: dict[str, Any] = {}
    for name, value in node.items():
        key = f"{above}{name}"
        found.update(_flat(value, f"{key}.") if isinstance(value, dict) and value else {key: value})
    return found


def _refuse_lists(overrides: Sequence[str]) -> None:
    """Refuse several options, and none, where one is chosen: Hydra would mix the settings of all into the last; and
    files that are no options, but what options have in common.

    Raises:
        ComposerError: a list for such a group, a second option by `+`, or a name that begins with `_`.
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
