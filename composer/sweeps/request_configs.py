"""Configs of requests without Hydra, which takes a fifth of a second: from the configs of earlier ones, as the jobs of
a sweep are composed. The service, calls from Python and a process that is kept warm compose theirs so.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from composer.config import overrides as argv
from composer.config.compose import compose_config
from composer.config.hydra_loader import loader
from composer.config.hydra_settings import OUT, as_nodes, is_hydras
from composer.config.output_folder import allowed, refuse_unusable
from composer.config.recipes import Recipe, compose_request_and_folder, recipe_name
from composer.config.search_path import conf_folders
from composer.config.source_settings import completed
from composer.sweeps.grammar import Grammar
from composer.sweeps.job_configs import Composer
from composer.sweeps.recipe_configs import RecipeComposer
from composer.system.paths import expand_user

if TYPE_CHECKING:
    from omegaconf import DictConfig

#: Most configs that are kept; with more, all are composed anew.
MAX_CONFIGS = 200
#: `hydra.run.dir` of conf/compose.yaml, where no `output.folder` is set.
BY_TIME = "outputs/%Y-%m-%d/%H-%M-%S-%f"


class RequestConfigs:
    """Composes configs, and keeps those of Hydra until an option file changes. One thread at a time uses it.

    Args:
        config_dir: Additional directory of option files.
    """

    def __init__(self, config_dir: str | None = None) -> None:
        self.config_dir = config_dir
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
            return self.of_run(words)
        except Exception:  # whatever it is, Hydra says it as the command line does
            return compose_config(list(words), self.config_dir)

    def of_run(self, words: Sequence[str]) -> dict[str, Any]:
        """Compose the overrides of a run.

        Args:
            words: Prepared overrides.

        Returns:
            The config.

        Raises:
            Exception: They do not compose; Hydra's message is better.
        """
        composer = self._current()
        return composer([composer.grammar.setting(word) for word in words])

    def _current(self) -> Composer:
        files = file_states(self.config_dir)
        if self._composer is None or self._files != files or self._composer.composed > MAX_CONFIGS:
            self._composer, self._files = Composer(Grammar(loader(self.config_dir))), files
        return self._composer


#: By the additional and the current directory.
_shared: dict[tuple[str | None, str], RequestConfigs] = {}
_lock = Lock()


def compose_again(
    overrides: Sequence[str], config_dir: str | None = None
) -> tuple[DictConfig | Mapping[str, Any], Path]:
    """Compose the overrides of a run or of a recipe from configs of earlier calls, where that gives the same.

    Args:
        overrides: `key=value` words as they are typed.
        config_dir: Additional directory of option files.

    Returns:
        As `compose_request_and_folder`.

    Raises:
        ComposerError: As for `compose_request_and_folder`.
    """
    with suppress(Exception):  # whatever it is, Hydra says it better
        words = as_nodes(completed(argv.prepare(overrides)))
        typed = {key: value for _, key, value in map(argv.split, words)}
        if recipe_name(words) is None and not any(map(is_hydras, typed)) and "${" not in (typed.get(OUT) or ""):
            where = config_dir, os.getcwd()
            with _lock:
                tree = _shared.setdefault(where, RequestConfigs(config_dir)).of_run(words)
            if (folder := _folder(tree, typed)) is not None:
                return tree, folder
    return compose_request_and_folder(list(overrides), config_dir)


def _folder(tree: Mapping[str, Any], typed: Mapping[str, str | None]) -> Path | None:
    """The directory of a run, as `folder_of` determines it; None where an option file sets it, or null is typed."""
    value = tree["output"].get("folder")
    if (value is None) == (OUT in typed):
        return None
    if value is None:
        value = datetime.now().strftime(BY_TIME)
    folder = Path(os.path.abspath(expand_user(str(value))))
    refuse_unusable(folder)
    return allowed(folder, OUT, typed.get(OUT), typed.get(OUT))


def file_states(config_dir: str | None = None) -> list[tuple[str, int, int]]:
    """All option files with their sizes and times of change, which say whether one has changed.

    Args:
        config_dir: Additional directory of option files.

    Returns:
        Path, time of the last change in nanoseconds, and size in bytes of each.
    """
    states = []
    for folder in conf_folders(config_dir):
        for parent, _, names in os.walk(folder):  # a fifth of the time of Path.rglob
            for name in names:
                if name.endswith(".yaml"):
                    status = os.stat(os.path.join(parent, name))
                    states.append((os.path.join(parent, name), status.st_mtime_ns, status.st_size))
    return sorted(states)
