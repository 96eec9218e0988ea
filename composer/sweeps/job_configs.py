"""Overrides of a job to its config as plain data.

Hydra composes once for each set of options; plain values are then set on copies of that config.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from hydra.core.override_parser.types import OverrideType
from omegaconf import DictConfig, OmegaConf

from composer.config.compose import without_hydra
from composer.config.keys import LISTS
from composer.config.read import copied
from composer.config.source_settings import SOURCE, completed
from composer.sweeps.grammar import Grammar, JobSetting


class Composer:
    """Composer of job configs that reuses the configs it has composed.

    Args:
        grammar: Parser of the overrides.

    Attributes:
        composed: Number of configs that Hydra composed so far.
    """

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.composed = 0
        self._bases: dict[tuple[str, ...], dict[str, Any] | None] = {}

    def __call__(self, settings: Sequence[JobSetting]) -> dict[str, Any]:
        """Compose the config of one job.

        Args:
            settings: Overrides of the job.

        Returns:
            The resolved config; ``"???"`` where a value is missing.

        Raises:
            HydraException: An override names an option that does not exist.
            OmegaConfBaseException: An override sets a key that does not exist, or an interpolation fails.
        """
        settings = self._completed(settings)
        structural = tuple(setting.text for setting in settings if self._is_structural(setting))
        base = self._base(structural)
        if base is not None:
            tree: dict[str, Any] = copied(base)
            if all(_put(tree, setting) for setting in settings if not self._is_structural(setting)):
                return tree
        # Hydra resolves the rest, or raises the better error
        return _plain(self._compose(tuple(setting.text for setting in settings)), resolve=True)

    def choices(self, settings: Sequence[JobSetting]) -> dict[str, Any]:
        """Read the values that ``sweep.where`` can refer to.

        Args:
            settings: Overrides of one job.

        Returns:
            The chosen option of each config group, and every scalar or list by its dotted key.
        """
        tree = self(settings)
        flat = {key: value for key, value in flatten(tree).items() if not key.endswith("_")}
        self.composed += 1
        config = self.grammar.loader.compose([setting.text for setting in self._completed(settings)])
        return flat | {group: name for group, name in config.hydra.runtime.choices.items() if "/" not in group}

    def _completed(self, settings: Sequence[JobSetting]) -> list[JobSetting]:
        """Add the model option that a bare ``model.source`` stands for."""
        known = {setting.text: setting for setting in settings}
        return [known.get(text) or self.grammar.setting(text) for text in completed(list(known))]

    def _is_structural(self, setting: JobSetting) -> bool:
        """Whether only Hydra can apply an override: options, additions, removals, interpolations, Hydra's own keys."""
        override = self.grammar.parse(setting.text)
        return (
            setting.key == SOURCE  # other settings follow from it
            or override.type not in (OverrideType.CHANGE, OverrideType.FORCE_ADD)
            or self.grammar.is_group(setting.key)
            or override.package is not None
            or has_interpolation(setting.value)
            or setting.key.startswith("hydra.")
        )

    def _base(self, structural: tuple[str, ...]) -> dict[str, Any] | None:
        """Config of these overrides alone; ``None`` if interpolations in it could depend on values."""
        if structural not in self._bases:
            config = self._compose(structural)
            live = has_interpolation(_plain(config, resolve=False))
            self._bases[structural] = None if live else _plain(config, resolve=True)
        return self._bases[structural]

    def _compose(self, overrides: tuple[str, ...]) -> DictConfig:
        self.composed += 1
        return without_hydra(self.grammar.loader.compose(overrides))


def _plain(config: DictConfig, resolve: bool) -> dict[str, Any]:
    return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=resolve))  # a DictConfig gives a dict


def _put(tree: dict[str, Any], setting: JobSetting) -> bool:
    """Set a dotted key; False if only Hydra can report the error in it."""
    *path, last = setting.key.split(".")
    node: Any = tree
    force = setting.text.startswith("++")
    if path and path[0] in LISTS and (path[1:2] or [last])[0] not in (tree.get(path[0]) or {}):
        return False  # the settings of an option that is not chosen
    for name in path:
        if not isinstance(node, dict) or (name not in node and not force):
            return False
        node = node.setdefault(name, {})
    if not isinstance(node, dict) or (last not in node and not force) or isinstance(node.get(last), dict):
        return False
    node[last] = unescape(setting.value)
    return True


#: Backslashes before `${`: an odd number of them escapes it, and each pair stands for one backslash.
_DOLLAR = re.compile(r"(\\*)\$\{")


def has_interpolation(node: Any) -> bool:
    """Test whether plain data contains an OmegaConf interpolation.

    Args:
        node: Mappings, lists and scalars.

    Returns:
        Whether some text in it holds an unescaped ``${``.
    """
    if isinstance(node, str):
        return any(len(match[1]) % 2 == 0 for match in _DOLLAR.finditer(node))
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return any(map(has_interpolation, children))


def unescape(node: Any) -> Any:
    """Resolve escaped interpolations as OmegaConf does.

    Args:
        node: Mappings, lists and scalars.

    Returns:
        A copy in which ``\\\\${`` is ``${``.
    """
    if isinstance(node, str):
        return _DOLLAR.sub(lambda match: match[1][: len(match[1]) // 2] + "${", node)
    if isinstance(node, dict):
        return {key: unescape(value) for key, value in node.items()}
    return [unescape(value) for value in node] if isinstance(node, list) else node


def flatten(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings.

    Args:
        node: Mapping to flatten.
        prefix: Text before each key.

    Returns:
        All values that are no mappings, by dotted key.
    """
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat.update(flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value})
    return flat
