"""The words of a command line → a sweep: its jobs, its settings, its folder."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from composer.config import overrides as argv
from composer.config.command_line import ParsedArgs
from composer.config.hydra_errors import explained
from composer.config.hydra_loader import loader
from composer.config.hydra_settings import OUT, RUN_DIR, SWEEP_DIR, is_hydras, refusal
from composer.config.keys import OF_SWEEPS
from composer.config.output_folder import refuse_unusable
from composer.errors import ComposerError
from composer.sweeps.executor import Executor, LocalExecutor
from composer.sweeps.grammar import Grammar, Job, iter_jobs
from composer.sweeps.job_configs import Composer
from composer.sweeps.job_id import identity
from composer.sweeps.plan import Entry
from composer.sweeps.report.sheet import check_axes
from composer.sweeps.settings import read_ray, read_sweep
from composer.sweeps.spec import RaySpec, SheetSpec, SweepSpec
from composer.sweeps.worker import Setup, Worker, drop_progress_callback, silence_worker
from composer.system.paths import expand_user

#: Overrides of these say how a sweep is run and not what it is.
MANNER = (*OF_SWEEPS, "hydra")
#: Settings of a sweep that decide which jobs there are.
MAKES_JOBS = ("sweep.jobs=", "sweep.zip=", "sweep.where=", "sweep.limit=")
RAY = "hydra/launcher=ray"
SWEEPS = Path("outputs/sweeps")


@dataclass
class Sweep:
    """What was asked for, parsed. own: overrides that make the jobs. title: these as typed. invalid: jobs to be left
    out, and why.
    """

    line: ParsedArgs
    own: list[str]
    spec: SweepSpec
    sheet: SheetSpec
    compose: Composer
    jobs: list[Job]
    folder: Path
    worker: Worker
    executor: Executor
    title: str = ""
    invalid: list[tuple[Job, str]] = field(default_factory=list)

    def settle(self, entry: Entry) -> None:
        """Find out what a job is: its config, its checkpoint, its id."""
        with explained(entry.job.overrides, self.line.config_dir):
            entry.tree = drop_progress_callback(self.compose(entry.job.settings))
        entry.checked = self.worker.checked(entry.tree)
        entry.id = identity(entry.checked)


def asked_for(line: ParsedArgs, setup: Setup = silence_worker) -> Sweep:
    """Parse a command line.

    Args:
        line: The command line.
        setup: Configures the process of each worker that the sweep starts.
    """
    overrides = argv.prepare(line.overrides, multirun=True)
    with explained(overrides, line.config_dir):
        return _parsed(line, overrides, setup)


def _parsed(line: ParsedArgs, overrides: list[str], setup: Setup) -> Sweep:
    grammar = Grammar(loader(line.config_dir))
    manner, own = manner_and_own(overrides)
    folder = folder_of(manner)
    settings = grammar.loader.settings([text for text in manner if _root(text) in OF_SWEEPS])
    spec, sheet = read_sweep(settings)
    compose = Composer(grammar)
    first = [choices[0] for choices in grammar.axes(own).values()] if spec.where else []
    known = compose.choices([setting for choice in first for setting in choice]) if spec.where else {}
    found = list(iter_jobs(grammar, own, spec, known))
    if not found:
        raise ComposerError("sweep.where", spec.where, "leaves no job to run")
    check_axes(sheet, found[0].axes)
    folder = folder or SWEEPS / (spec.name or _name(own, spec, found[0]))
    refuse_unusable(folder)
    worker = Worker()
    executor = _cluster(read_ray(settings), setup) if RAY in overrides else LocalExecutor(worker)
    title = " ".join(
        _typed(word) for word, made in zip(line.overrides, overrides) if made in own or made.startswith(MAKES_JOBS)
    )
    return Sweep(line, own, spec, sheet, compose, found, folder, worker, executor, title)


def _typed(word: str) -> str:
    """Without the `++` that composer itself puts before a new key of a callback, a scheduler and so on."""
    bare = word.removeprefix("++")
    return bare if bare != word and argv.prepare([bare]) == [word] else word


def manner_and_own(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """What says how a sweep is run and where its files go, and what makes its jobs."""
    manner = [text for text in overrides if argv.split(text)[1] == OUT or _root(text) in MANNER]
    return manner, [text for text in overrides if text not in manner]


def _root(override: str) -> str:
    return re.split(r"[./]", argv.split(override)[1])[0]


def folder_of(manner: Sequence[str]) -> Path | None:
    """Where all files of a sweep go, if that was typed.

    Raises:
        ComposerError: several folders, or one that only a run would know.
    """
    folder = None
    for _, key, value in map(argv.split, manner):
        if key in (RUN_DIR, "hydra.sweep.subdir"):
            raise ComposerError(
                key, value, f"has no say in a sweep, which numbers its jobs: {OUT}=DIR is where all of them go"
            )
        if key in (SWEEP_DIR, OUT) and value:
            if "${" in value or ("," in value and value[0] not in "'\""):
                raise ComposerError(
                    key, value, "one folder, as typed, is for the whole sweep, which is found again by it"
                )
            folder = expand_user(value.strip("'\""))
        elif is_hydras(key) and f"{key}={value}" != RAY:
            raise refusal(key, value, "a sweep")
    return folder


def _cluster(spec: RaySpec, setup: Setup) -> Executor:
    from composer.sweeps.ray import Cluster

    return Cluster(spec, setup)


def _name(own: Sequence[str], spec: SweepSpec, job: Job) -> str:
    """Of the folder: the swept keys, and a sum over what was asked, so that the same command finds it again."""
    what = [*own, json.dumps([spec.zip, spec.jobs, spec.where, spec.limit, spec.shuffle])]
    keys = "-".join(key.replace(".", "_") for key in job.axes)[:60] or "one"
    return f"{keys}-{hashlib.sha256(chr(0).join(what).encode()).hexdigest()[:8]}"
