"""Configs of requests without Hydra, which takes a fifth of a second: from the configs of earlier ones, as the jobs of
a sweep are composed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from composer.config.compose import compose_config
from composer.config.hydra_loader import loader
from composer.config.recipes import Recipe, recipe_name
from composer.config.search_path import conf_folders
from composer.sweeps.grammar import Grammar
from composer.sweeps.job_configs import Composer
from composer.sweeps.recipe_configs import RecipeComposer

#: Most configs that are kept; with more, all are composed anew.
MAX_CONFIGS = 200


class RequestConfigs:
    """Composes configs, and keeps those of Hydra until an option file changes. One thread at a time uses it."""

    def __init__(self) -> None:
        self._composer: Composer | None = None
        self._files: Any = None

    def __call__(self, words: Sequence[str]) -> Mapping[str, Any]:
        """Compose the overrides of a request.

        Args:
            words: Checked overrides.

        Returns:
            The config of a run, or the tree of a recipe.

        Raises:
            ComposerError: They do not compose.
        """
        if recipe_name(words):
            grammar = self._current().grammar
            return RecipeComposer(grammar, Recipe(words), None)([grammar.setting(word) for word in words])
        try:
            composer = self._current()
            return composer([composer.grammar.setting(word) for word in words])
        except Exception:  # whatever it is, Hydra says it as the command line does
            return compose_config(list(words))

    def _current(self) -> Composer:
        files = file_states()
        if self._composer is None or self._files != files or self._composer.composed > MAX_CONFIGS:
            self._composer, self._files = Composer(Grammar(loader())), files
        return self._composer


def file_states() -> list[tuple[str, int, int]]:
    """All option files with their sizes and times of change, which say whether one has changed."""
    states = []
    for folder in conf_folders():
        for parent, _, names in os.walk(folder):  # a fifth of the time of Path.rglob
            for name in names:
                if name.endswith(".yaml"):
                    status = os.stat(os.path.join(parent, name))
                    states.append((os.path.join(parent, name), status.st_mtime_ns, status.st_size))
    return sorted(states)
