"""Command line of ``hydra/sweeper=optuna`` to a search for the settings that minimise a metric.

Hydra's own Optuna plugin needs optuna<3 and starts a process per trial. Here the trials run in this process with the
models that are loaded, and are kept as a sweep's jobs are. The settings are documented in conf/search.
https://optuna.readthedocs.io
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from composer.config import overrides as argv
from composer.config.command_line import ParsedArgs
from composer.config.hydra_errors import translate_errors
from composer.config.hydra_loader import loader
from composer.config.hydra_settings import OUT, SEARCH, SWEEP_DIR
from composer.config.recipes import Recipe, recipe_name
from composer.errors import ComposerError
from composer.recipes.check import CheckedRecipe
from composer.recipes.identity import request_id
from composer.sweeps.grammar import Grammar, Job
from composer.sweeps.job_configs import Composer
from composer.sweeps.parse import RUN_ROOTS, SWEEPS, requested_folder, split_overrides
from composer.sweeps.plan import Entry
from composer.sweeps.recipe_configs import RecipeComposer
from composer.sweeps.search.metrics import KEY, Reference
from composer.sweeps.search.space import Point, Space
from composer.sweeps.settings import read_search, read_sweep
from composer.sweeps.spec import SearchSpec, SheetSpec, SweepSpec
from composer.sweeps.worker import Worker, drop_progress_callback

#: Settings of a sweep that a search uses as well.
SWEEP_SETTINGS = ("name", "fresh")


@dataclass
class Search:
    """A parsed command line of a search.

    Attributes:
        line: The command line.
        job_overrides: Overrides that make the trials.
        run_overrides: Overrides that set how they run, and that resuming must repeat.
        typed: Overrides as typed, by their prepared form.
        spec: Settings of the search.
        fresh: Whether to delete earlier results in the folder first.
        folder: Folder of the search's files.
        compose: Composer of trial configs.
        space: The search space.
        recipe: The recipe whose settings are searched over; ``None`` for single runs.
        worker: Worker of this process.
    """

    line: ParsedArgs
    job_overrides: list[str]
    run_overrides: list[str]
    typed: dict[str, str]
    spec: SearchSpec
    fresh: bool
    folder: Path
    compose: Composer
    space: Space
    recipe: Recipe | None = None
    worker: Worker = field(default_factory=Worker)

    def entry(self, words: Sequence[str], number: int = 0, axes: tuple[str, ...] = ()) -> Entry:
        """Resolve one run: the fixed overrides with some more.

        Args:
            words: More overrides; they take precedence.
            number: Number of the trial.
            axes: Keys of the axes.

        Returns:
            The job with its config, checked config and id.

        Raises:
            ComposerError: The run is invalid.
        """
        job = Job(number, self.space.settings(words), axes)
        with translate_errors(job.overrides, self.line.config_dir):
            tree = drop_progress_callback(self.compose(job.settings))
        checked = self.worker.check(tree)
        if isinstance(checked, CheckedRecipe) and {"seconds", "peak_memory"} & {*self.spec.metrics}:
            checked = replace(checked, spec=replace(checked.spec, reuse=False))  # a stored result takes no time
        return Entry(job, request_id(checked), tree, checked)

    def trial(self, point: Point, number: int = 0) -> Entry:
        """Resolve the run of a point.

        Args:
            point: Point of the search space.
            number: Number of the trial.

        Returns:
            The job with its config, checked config and id.

        Raises:
            ComposerError: The run is invalid.
        """
        return self.entry(self.space.words(point), number, tuple(self.space.values(point)))

    def reference(self) -> Reference | Entry | None:
        """Read ``search.reference``.

        Returns:
            The image of a file, the resolved run that generates the image, or ``None``.

        Raises:
            ComposerError: The file cannot be read, or the overrides are invalid.
        """
        text = self.spec.reference
        if text is None:
            return None
        words = _words(text)
        if words is None:
            return Reference.read(text)
        prepared = (self.recipe or argv).prepare(words)
        for word in prepared:
            override = self.space.grammar.parse(word)
            if override.is_sweep_override() or re.split(r"[./]", override.key_or_group)[0] in RUN_ROOTS:
                reason = f"`{word}` sets no single run: use overrides such as steps=50 scheduler=ddim"
                raise ComposerError(KEY, text, reason)
        return self.entry(prepared)

    def command(self, point: Point) -> str:
        """Format the command that generates the images of a point again.

        Args:
            point: Point of the search space.

        Returns:
            A command line for a POSIX shell.
        """
        fixed = [self.typed.get(text, text) for text in self.space.fixed]
        flags = [] if self.line.config_dir is None else ["--config-dir", self.line.config_dir]
        return shlex.join(["compose", *flags, *fixed, *self.space.words(point)])


def parse_search(line: ParsedArgs) -> Search:
    """Parse the command line of a search.

    Args:
        line: The command line.

    Returns:
        The search. No trial is resolved yet, and nothing is written.

    Raises:
        ComposerError: An override or a setting is invalid, or has no effect in a search.
    """
    recipe = Recipe(line.overrides, line.config_dir) if recipe_name(line.overrides) else None
    overrides = (recipe or argv).prepare(line.overrides, multirun=True)
    with translate_errors(overrides, line.config_dir):
        return _parse_prepared(line, overrides, recipe)


def _parse_prepared(line: ParsedArgs, overrides: list[str], recipe: Recipe | None) -> Search:
    run_overrides, job_overrides = split_overrides(overrides)
    of_hydra = [text for text in run_overrides if argv.split(text)[1].startswith(("hydra", OUT))]
    for _, key, value in (argv.split(text) for text in of_hydra if text != SEARCH):
        if key not in (SWEEP_DIR, OUT):
            reason = f"has no effect in a search, which generates in this process: omit it, or {SEARCH}"
            raise ComposerError(key, value, reason)
    grammar = Grammar(loader(line.config_dir))
    folder = requested_folder([text for text in run_overrides if text != SEARCH])
    settings = grammar.loader.settings([text for text in run_overrides if text not in of_hydra])
    spec, (sweep, sheet) = read_search(settings), read_sweep(settings)
    _refuse_sweep_settings(sweep, sheet)
    space = Space(grammar, job_overrides)
    folder = folder or SWEEPS / (sweep.name or _folder_name(job_overrides, spec, space))
    kept = [text for text in run_overrides if argv.split(text)[1].startswith("search.") or text == SEARCH]
    typed = {
        text: word for text, word in zip(overrides, line.overrides) if not (argv.split(word)[2] or "").startswith("@")
    }
    compose = RecipeComposer(grammar, recipe, line.config_dir) if recipe else Composer(grammar)
    return Search(line, job_overrides, kept, typed, spec, sweep.fresh, folder, compose, space, recipe)


def _refuse_sweep_settings(sweep: SweepSpec, sheet: SheetSpec) -> None:
    """Refuse settings of sweeps that have no effect in a search."""
    specs: tuple[tuple[str, SweepSpec | SheetSpec, SweepSpec | SheetSpec], ...] = (
        ("sweep", sweep, SweepSpec()),
        ("sheet", sheet, SheetSpec()),
    )
    for name, spec, defaults in specs:
        for key, value in vars(spec).items():
            if key not in SWEEP_SETTINGS and value != getattr(defaults, key):
                raise ComposerError(f"{name}.{key}", value, "has no effect in a search: omit it")


def _folder_name(job_overrides: Sequence[str], spec: SearchSpec, space: Space) -> str:
    """Keys and a hash of the request, so that the same command with more trials finds its folder again."""
    request = [*job_overrides, json.dumps([spec.metric, spec.reference, spec.within, spec.seed])]
    keys = "-".join(axis.key.lstrip("+").replace(".", "_") for axis in space.axes)[:60]
    return f"search-{keys}-{hashlib.sha256(chr(0).join(request).encode()).hexdigest()[:8]}"


def _words(text: str) -> list[str] | None:
    """Overrides of a reference; None if it is the name of a file."""
    try:
        words = shlex.split(text)
        is_file = Path(text).expanduser().exists()
    except (ValueError, OSError, RuntimeError):  # an unpaired quote; an impossible file name
        return None
    return words if words and not is_file and all("=" in word for word in words) else None
