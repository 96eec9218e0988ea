"""Command line of a multirun to a sweep: its jobs, its settings and its folder."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from composer.config import overrides as argv
from composer.config.command_line import ParsedArgs
from composer.config.hydra_errors import translate_errors
from composer.config.hydra_loader import loader
from composer.config.hydra_settings import OUT, RUN_DIR, SWEEP_DIR, is_hydras, refusal
from composer.config.keys import OF_SWEEPS
from composer.config.output_folder import refuse_unusable
from composer.config.recipes import Recipe, recipe_name
from composer.errors import ComposerError
from composer.recipes.identity import request_id
from composer.sweeps.executor import Executor, LocalExecutor
from composer.sweeps.grammar import Grammar, Job, iter_jobs
from composer.sweeps.job_configs import Composer
from composer.sweeps.plan import Entry
from composer.sweeps.recipe_configs import RecipeComposer
from composer.sweeps.report.layout import check_axes
from composer.sweeps.settings import read_ray, read_sweep
from composer.sweeps.spec import RaySpec, SheetSpec, SweepSpec
from composer.sweeps.worker import Setup, Worker, drop_progress_callback, silence_worker
from composer.system.paths import expand_user

#: First parts of keys that set how jobs run, not which jobs there are.
RUN_ROOTS = (*OF_SWEEPS, "hydra")
#: Settings of a sweep that decide which jobs there are.
JOB_SETTINGS = ("sweep.jobs=", "sweep.zip=", "sweep.where=", "sweep.limit=")
RAY = "hydra/launcher=ray"
SWEEPS = Path("outputs/sweeps")


@dataclass
class Sweep:
    """A parsed command line of a multirun.

    Attributes:
        line: The command line.
        job_overrides: Overrides that make the jobs.
        spec: Settings of the sweep.
        sheet: Axes of its sheet.
        compose: Composer of job configs.
        jobs: Jobs that can run; all jobs until invalid ones are removed.
        folder: Folder of the sweep's files.
        worker: Worker of this process.
        executor: Where batches run.
        title: Overrides that make the jobs, as typed.
        invalid: Jobs that are skipped, with the reasons.
    """

    line: ParsedArgs
    job_overrides: list[str]
    spec: SweepSpec
    sheet: SheetSpec
    compose: Composer
    jobs: list[Job]
    folder: Path
    worker: Worker
    executor: Executor
    title: str = ""
    invalid: list[tuple[Job, str]] = field(default_factory=list)

    def resolve(self, entry: Entry) -> None:
        """Compute a job's config, checked config and id.

        Args:
            entry: Job to fill in.

        Raises:
            ComposerError: The job is invalid.
        """
        with translate_errors(entry.job.overrides, self.line.config_dir):
            entry.tree = drop_progress_callback(self.compose(entry.job.settings))
        entry.checked = self.worker.check(entry.tree)
        entry.id = request_id(entry.checked)


def parse_sweep(line: ParsedArgs, setup: Setup = silence_worker) -> Sweep:
    """Parse the command line of a sweep.

    Args:
        line: The command line.
        setup: Configures the process of each worker that the sweep starts.

    Returns:
        The sweep. No job is resolved yet, and nothing is written.

    Raises:
        ComposerError: An override, a setting of the sweep, or its folder is invalid, or there are no jobs.
    """
    recipe = Recipe(line.overrides, line.config_dir) if recipe_name(line.overrides) else None
    overrides = (recipe or argv).prepare(line.overrides, multirun=True)
    with translate_errors(overrides, line.config_dir):
        return _parse_prepared(line, overrides, setup, recipe)


def _parse_prepared(line: ParsedArgs, overrides: list[str], setup: Setup, recipe: Recipe | None) -> Sweep:
    grammar = Grammar(loader(line.config_dir))
    run_overrides, job_overrides = split_overrides(overrides)
    folder = requested_folder(run_overrides)
    settings = grammar.loader.settings([text for text in run_overrides if _root(text) in OF_SWEEPS])
    spec, sheet = read_sweep(settings)
    compose = RecipeComposer(grammar, recipe, line.config_dir) if recipe else Composer(grammar)
    first = [values[0] for values in grammar.axes(job_overrides).values()] if spec.where else []
    known = compose.choices([setting for value in first for setting in value]) if spec.where else {}
    jobs = list(iter_jobs(grammar, job_overrides, spec, known))
    if not jobs:
        raise ComposerError("sweep.where", spec.where, "leaves no job to run")
    check_axes(sheet, jobs[0].axes)
    folder = folder or SWEEPS / (spec.name or _folder_name(job_overrides, spec, jobs[0]))
    refuse_unusable(folder)
    worker = Worker()
    executor = _cluster(read_ray(settings), setup) if RAY in overrides else LocalExecutor(worker)
    title = " ".join(
        _as_typed(word)
        for word, prepared in zip(line.overrides, overrides)
        if prepared in job_overrides or prepared.startswith(JOB_SETTINGS)
    )
    return Sweep(line, job_overrides, spec, sheet, compose, jobs, folder, worker, executor, title)


def _as_typed(word: str) -> str:
    """Remove the ``++`` that composer itself adds to new keys of options."""
    bare = word.removeprefix("++")
    return bare if bare != word and argv.prepare([bare]) == [word] else word


def split_overrides(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate overrides that set how jobs run from those that make the jobs.

    Args:
        overrides: Prepared overrides.

    Returns:
        Overrides of ``sweep``, ``sheet``, ``hydra`` and so on and of the output folder; and all others.
    """
    run_overrides = [text for text in overrides if argv.split(text)[1] == OUT or _root(text) in RUN_ROOTS]
    return run_overrides, [text for text in overrides if text not in run_overrides]


def _root(override: str) -> str:
    return re.split(r"[./]", argv.split(override)[1])[0]


def requested_folder(run_overrides: Sequence[str]) -> Path | None:
    """Find the folder that the overrides set for all files of a sweep.

    Args:
        run_overrides: Overrides that set how jobs run.

    Returns:
        The folder, or ``None`` if none is set.

    Raises:
        ComposerError: Several folders are set, or one that depends on the job, or another setting of Hydra.
    """
    folder = None
    for _, key, value in map(argv.split, run_overrides):
        if key in (RUN_DIR, "hydra.sweep.subdir"):
            reason = f"has no effect in a sweep, which numbers its jobs: set one folder for all of them by {OUT}=DIR"
            raise ComposerError(key, value, reason)
        if key in (SWEEP_DIR, OUT) and value:
            if "${" in value or ("," in value and value[0] not in "'\""):
                reason = "must be one literal folder for all jobs, by which the sweep can be resumed"
                raise ComposerError(key, value, reason)
            folder = expand_user(value.strip("'\""))
        elif is_hydras(key) and f"{key}={value}" != RAY:
            raise refusal(key, value, "a sweep")
    return folder


def _cluster(spec: RaySpec, setup: Setup) -> Executor:
    from composer.sweeps.ray import Cluster

    return Cluster(spec, setup)


def _folder_name(job_overrides: Sequence[str], spec: SweepSpec, job: Job) -> str:
    """Swept keys and a hash of the request, so that the same command finds its folder again."""
    request = [*job_overrides, json.dumps([spec.zip, spec.jobs, spec.where, spec.limit, spec.shuffle])]
    keys = "-".join(key.replace(".", "_") for key in job.axes)[:60] or "one"
    return f"{keys}-{hashlib.sha256(chr(0).join(request).encode()).hexdigest()[:8]}"
