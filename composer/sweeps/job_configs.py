"""A job's overrides → its config as plain data: Hydra once for each set of options, values on copies of what it made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import OverrideType
from omegaconf import OmegaConf

from composer.config.compose import without_hydra
from composer.config.read import copied
from composer.config.source_settings import SOURCE, completed
from composer.sweeps.grammar import Grammar, JobSetting


class Composer:
    """`composed` counts how often Hydra was asked."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar, self.bases, self.composed = grammar, {}, 0

    def __call__(self, settings: Sequence[JobSetting]) -> dict[str, Any]:
        """The resolved config of one job; `???` where a value is missing.

        Raises:
            HydraException, OmegaConfBaseException: as Hydra itself, for a key or an option that is not there.
        """
        settings = self._completed(settings)
        structural = tuple(setting.text for setting in settings if self._is_structural(setting))
        tree = self._base(structural)
        if tree is not None:
            made = copied(tree)
            if all(_put(made, setting) for setting in settings if not self._is_structural(setting)):
                return made
        made = self._compose(tuple(setting.text for setting in settings))  # Hydra says it better, or resolves it
        return OmegaConf.to_container(made, resolve=True)

    def choices(self, settings: Sequence[JobSetting]) -> dict[str, Any]:
        """Values by dotted key that a condition can ask for: options by group, and all that is no mapping."""
        tree = self(settings)
        flat = {key: value for key, value in flattened(tree).items() if not key.endswith("_")}
        self.composed += 1
        config = self.grammar.loader.compose([setting.text for setting in self._completed(settings)])
        return flat | {group: name for group, name in config.hydra.runtime.choices.items() if "/" not in group}

    def _completed(self, settings: Sequence[JobSetting]) -> list[JobSetting]:
        """With the option that a model's source alone stands for."""
        known = {setting.text: setting for setting in settings}
        return [known.get(text) or self.grammar.setting(text) for text in completed(list(known))]

    def _is_structural(self, setting: JobSetting) -> bool:
        """Whether only Hydra can apply it: options of groups, additions, removals, interpolations, and Hydra's own
        keys.
        """
        override = self.grammar.parse(setting.text)
        plain = override.type in (OverrideType.CHANGE, OverrideType.FORCE_ADD)
        if setting.key == SOURCE:  # other settings go with it
            return True
        is_group = (
            self.grammar.parser.config_loader.repository.group_exists(setting.key) if "." not in setting.key else False
        )
        return (
            not plain
            or is_group
            or override.package is not None
            or interpolates(setting.value)
            or setting.key.startswith("hydra.")
        )

    def _base(self, structural: tuple[str, ...]) -> dict[str, Any] | None:
        """The config with these overrides alone, None where it has interpolations, which values could feed."""
        if structural not in self.bases:
            config = self._compose(structural)
            live = interpolates(OmegaConf.to_container(config, resolve=False))
            self.bases[structural] = None if live else OmegaConf.to_container(config, resolve=True)
        return self.bases[structural]

    def _compose(self, overrides: tuple[str, ...]) -> Any:
        self.composed += 1
        return without_hydra(self.grammar.loader.compose(overrides))


def _put(tree: dict[str, Any], setting: JobSetting) -> bool:
    """Set a dotted key; False where only Hydra can say what is wrong with it."""
    *path, last = setting.key.split(".")
    node: Any = tree
    force = setting.text.startswith("++")
    for name in path:
        if not isinstance(node, dict) or (name not in node and not force):
            return False
        node = node.setdefault(name, {})
    if not isinstance(node, dict) or (last not in node and not force) or isinstance(node.get(last), dict):
        return False
    node[last] = unescaped(setting.value)
    return True


#: Backslashes before `${`: an odd number of them makes it text, and half of them are meant.
_DOLLAR = re.compile(r"(\\*)\$\{")


def interpolates(node: Any) -> bool:
    """Whether some text in it asks OmegaConf for another value."""
    if isinstance(node, str):
        return any(len(found[1]) % 2 == 0 for found in _DOLLAR.finditer(node))
    return any(map(interpolates, node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()))


def unescaped(node: Any) -> Any:
    """A copy with texts as OmegaConf would give them."""
    if isinstance(node, str):
        return _DOLLAR.sub(lambda found: found[1][: len(found[1]) // 2] + "${", node)
    if isinstance(node, dict):
        return {key: unescaped(value) for key, value in node.items()}
    return [unescaped(value) for value in node] if isinstance(node, list) else node


def flattened(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves by dotted key."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        found.update(flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value})
    return found
