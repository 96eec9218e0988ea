"""A sweep from the words of the command line to its last page: lock, plan, draw, journal, report."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from composer import __version__, argv
from composer.config import OF_SWEEPS, read_ray, read_sweep
from composer.errors import ComposerError, printable, shorten
from composer.explain import explain
from composer.files import write
from composer.line import Line
from composer.plugins import conf_folders, register_search_path
from composer.spec import RaySpec, SheetSpec, SweepSpec
from composer.sweep.composing import Composer
from composer.sweep.execute import Executor, Here
from composer.sweep.grammar import Grammar, Job, jobs
from composer.sweep.identity import identity
from composer.sweep.journal import ASKED, LOG, Journal, locked
from composer.sweep.pages import Pages
from composer.sweep.plan import FREE, Batch, Entry, Plan, alike
from composer.sweep.progress import Lines
from composer.sweep.table import invalid_table, plan_text
from composer.sweep.work import Failed, Made, Worker, batch_safe

#: Overrides of these say how a sweep is run and not what it is.
MANNER = (*OF_SWEEPS, "hydra")
RAY = "hydra/launcher=ray"
DIR = "hydra.sweep.dir"
SWEEPS = Path("outputs/sweeps")


@dataclass
class Sweep:
    """What was asked for, parsed. own: overrides that make the jobs."""

    line: Line
    own: list[str]
    spec: SweepSpec
    sheet: SheetSpec
    compose: Composer
    jobs: list[Job]
    folder: Path
    worker: Worker
    executor: Executor

    def settle(self, entry: Entry) -> None:
        """Find out what a job is: its config, its checkpoint, its id."""
        try:
            entry.tree = self.compose(entry.job.settings)
        except (HydraException, OmegaConfBaseException) as error:
            raise explain(error, list(entry.job.overrides), conf_folders(self.line.config_dir)) from None
        entry.checked = self.worker.checked(entry.tree)
        entry.id = identity(entry.checked)


@contextmanager
def asked_for(line: Line) -> Iterator[Sweep]:
    """Parse a command line; composing needs Hydra to stay initialised."""
    register_search_path(line.config_dir)
    overrides = argv.prepare(line.overrides, multirun=True)
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize(config_path=None, version_base="1.3", job_name="compose"):
            yield _parsed(line, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error, [text for text in overrides if not text.startswith("hydra/")], conf_folders(line.config_dir)) from None
    finally:
        GlobalHydra.instance().hydra = before


def _parsed(line: Line, overrides: list[str]) -> Sweep:
    grammar = Grammar(GlobalHydra.instance().config_loader())
    manner = [text for text in overrides if re.split(r"[./]", argv.split(text)[1])[0] in MANNER]
    own = [text for text in overrides if text not in manner]
    settings = hydra.compose("compose", overrides=[text for text in manner if not argv.split(text)[1].startswith("hydra")])
    spec, sheet = read_sweep(settings)
    compose = Composer(grammar)
    first = [choices[0] for choices in grammar.axes(own).values()] if spec.where else []
    known = compose.choices([setting for choice in first for setting in choice]) if spec.where else {}
    found = list(jobs(grammar, own, spec, known))
    if not found:
        raise ComposerError("sweep.where", spec.where, "leaves no job to run")
    given = next((argv.split(text)[2] for text in manner if argv.split(text)[1] == DIR), None)
    folder = Path(given.strip("'\"")) if given else SWEEPS / (spec.name or _name(own, spec, found[0]))
    worker = Worker()
    executor = _cluster(read_ray(settings)) if RAY in overrides else Here(worker)
    return Sweep(line, own, spec, sheet, compose, found, folder, worker, executor)


def _cluster(spec: RaySpec) -> Executor:
    from composer.sweep.ray import Cluster

    return Cluster(spec)


def _name(own: Sequence[str], spec: SweepSpec, job: Job) -> str:
    """Of the folder: the swept keys, and a sum over what was asked, so that the same command finds it again."""
    what = [*own, json.dumps([spec.zip, spec.jobs, spec.where, spec.limit, spec.shuffle])]
    keys = "-".join(key.replace(".", "_") for key in job.axes)[:60] or "one"
    return f"{keys}-{hashlib.sha256(chr(0).join(what).encode()).hexdigest()[:8]}"


def run(line: Line) -> int:
    """Run a sweep, or go on with it; 0 when every job is done, 1 when some failed."""
    if not line.verbose:
        from composer.quiet import hush

        hush()
    with asked_for(line) as sweep:
        if sweep.spec.dry_run:
            print(plan_text(sweep))
            return 0
        _refuse_what_cannot_work(sweep)
        with locked(sweep.folder):
            if sweep.spec.fresh:
                _clear(sweep.folder)
            return Driver(sweep).run()


def _refuse_what_cannot_work(sweep: Sweep) -> None:
    """Try each distinct set of settings, and each prompt and seed once, before anything runs."""
    bad = invalid(sweep)
    if not bad:
        return
    if len(bad) == len(sweep.jobs) and len({str(error) for error in bad.values()}) == 1:
        raise bad[sweep.jobs[0].number]  # such as a misspelt key: it is not about some of them
    table = invalid_table(sweep.jobs, bad)
    if sweep.spec.on_invalid == "error":
        print(table, file=sys.stderr)
        reason = f"{len(bad)} of {len(sweep.jobs)} jobs can't work: change them, or leave them out by sweep.on_invalid=skip"
        raise ComposerError("sweep.on_invalid", "error", reason)
    print(f"{table}\ncompose: note: left out {len(bad)} of {len(sweep.jobs)} jobs that can't work", file=sys.stderr)
    sweep.jobs = [job for job in sweep.jobs if job.number not in bad]
    if not sweep.jobs:
        raise ComposerError("sweep.on_invalid", "skip", "no job is left")


def invalid(sweep: Sweep) -> dict[int, ComposerError]:
    """Number → reason of jobs that can't work. Jobs that differ in prompt or seed alone share one look at the rest."""
    done = Journal.read(sweep.folder).done if sweep.folder.is_dir() else {}
    verdicts: dict[Any, ComposerError | None] = {}
    bad: dict[int, ComposerError] = {}
    for job in sweep.jobs:
        settings, free = alike(job), [setting.text for setting in job.settings if setting.key in FREE]
        if settings not in verdicts:
            verdicts[settings] = _verdict(sweep, job, done, deep=True)
        if verdicts[settings] is None:  # a prompt or a seed that is at fault is so with any settings
            verdicts.update({text: _verdict(sweep, job, done, deep=False) for text in free if text not in verdicts})
        reason = next((verdicts[each] for each in (settings, *free) if verdicts.get(each)), None)
        if reason is not None:
            bad[job.number] = reason
    return bad


def _verdict(sweep: Sweep, job: Job, done: Mapping[str, str], deep: bool) -> ComposerError | None:
    """Why a job can't work, or None. deep: also what takes torch to find out, unless the job is done already."""
    entry = Entry(job)
    try:
        sweep.settle(entry)
        if deep and entry.id not in done:
            from composer.build import parts

            parts(entry.checked)
    except ComposerError as error:
        return error
    return None


def _clear(folder: Path) -> None:
    """Begin anew: remove what a sweep wrote, and nothing else that lies there."""
    for place in folder.iterdir():
        if place.is_dir() and (place / "run.json").exists():
            shutil.rmtree(place)
    for name in (LOG, ASKED, "index.html", "contact.png", "results.csv"):
        (folder / name).unlink(missing_ok=True)


class Driver:
    """Feeds batches to an executor, writes down what comes back, and keeps the pages up to date."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep, self.executor, self.spec = sweep, sweep.executor, sweep.spec
        self.journal = Journal.read(sweep.folder)
        self.journal.tidy()
        self.plan = Plan(sweep.jobs, self.journal, sweep.spec.batch, sweep.settle, batch_safe)
        self.pages = Pages(sweep.folder, shorten(" ".join(sweep.own), 300) or sweep.folder.name, self.plan, sweep.sheet)
        self.failures: dict[int, str] = {}
        self.started, self.drawn = time.monotonic(), 0

    def run(self) -> int:
        folder = self.sweep.folder
        about = {"composer": __version__, "overrides": self.sweep.own, "manner": _manner(self.spec), "jobs": len(self.sweep.jobs)}
        write(folder / ASKED, json.dumps({**about, "cwd": str(Path.cwd())}, indent=1, ensure_ascii=False).encode())
        self.lines = Lines(len(self.sweep.jobs))
        try:
            with self.lines.shown(), self.executor:
                self._work()
        finally:
            self.pages.write(finished=not any(entry.state in ("waiting", "running") for entry in self.plan.entries), always=self.drawn > 0)
        return self._report()

    def _work(self) -> None:
        """Until nothing waits and nothing is under way."""
        while True:
            while self.executor.free and not self._stopped():
                batch = self.plan.next(self.executor.loaded)
                if batch is None:
                    break
                self._begin(batch)
            if not self.executor.busy:
                return
            batch, outcome = self.executor.wait()
            self._ended(batch, outcome)

    def _stopped(self) -> bool:
        return self.spec.fail_fast and bool(self.failures)

    def _begin(self, batch: Batch) -> None:
        for entry in batch.entries:
            entry.state = "running" if entry.state == "waiting" else entry.state
            entry.tries += 1
        self.journal.begin([entry.id for entry in batch.entries])
        self.executor.start(batch, self.lines)

    def _ended(self, batch: Batch, outcome: list[Made] | Failed) -> None:
        if isinstance(outcome, Failed):
            return self._went_wrong(batch, outcome)
        records = [made.record for made in outcome]
        pictures, iterations = sum(len(record["images"]) for record in records), max(record["iterations"] for record in records)
        self.plan.sizes[batch.loads].ran(len(batch.entries), sum(record["seconds"] for record in records) / max(pictures * iterations, 1))
        for i, (entry, made) in enumerate(zip(batch.entries, outcome)):
            if entry.state == "running":  # one that was done before was drawn for the sake of the others
                self._keep(entry, made, {"index": i, "jobs": [each.id for each in batch.entries]})
        self.pages.write(finished=False)

    def _keep(self, entry: Entry, made: Made, batch: Mapping[str, Any]) -> None:
        place = self.journal.place(entry.job.number)
        about = {"number": entry.job.number, "values": entry.job.values, "batch": batch, "tries": entry.tries}
        try:
            self.journal.commit(entry.id, place, made.files, {**made.record, "sweep": about})
        except OSError as error:
            self._fail(entry, f"can't be written: {error.strerror}")
            return
        entry.state = "done"
        self.drawn += 1
        self.pages.drew(entry, place, made.record)
        where = self.sweep.folder / place / self.pages.first(entry)
        self.lines.ended(1, f"{where}  {label(entry.job)}  ({made.record['seconds']:.1f} s)")

    def _went_wrong(self, batch: Batch, failed: Failed) -> None:
        """Try smaller batches, then each job again as often as was asked for."""
        several = len(batch.entries) > 1
        if failed.memory and several:
            self.plan.sizes[batch.loads].failed(len(batch.entries))
            self.lines.say(f"compose: note: {len(batch.entries)} jobs at once: {failed.reason}; half of them next")
        again = several or (batch.entries[0].tries <= self.spec.retries and not failed.request)
        for entry in batch.entries:
            if entry.state == "running" and again:
                entry.state = "waiting"
                entry.tries -= several  # the batch failed, not yet the job
                self.journal.batches.pop(entry.id, None)
            elif entry.state == "running":
                self._fail(entry, failed.reason)
        if several and not failed.memory:
            self.plan.sizes[batch.loads].failed(2)  # one by one, to find the one at fault

    def _fail(self, entry: Entry, reason: str) -> None:
        entry.state = "failed"
        self.failures[entry.job.number] = reason
        self.journal.fail(entry.id, reason, number=entry.job.number, values=entry.job.values, tries=entry.tries)
        self.pages.failed(entry, reason)
        self.lines.ended(1, f"failed  {label(entry.job)}  {reason}")

    def _report(self) -> int:
        for entry in self.plan.entries:  # those that could not even be settled
            if entry.state == "failed" and entry.job.number not in self.failures:
                self.failures[entry.job.number] = self.journal.failed.get(str(entry.job.number), "can't work")
        states = [entry.state for entry in self.plan.entries]
        left = sum(state in ("waiting", "running") for state in states)
        before = states.count("done") - self.drawn
        for number, reason in sorted(self.failures.items()):
            job = next(entry.job for entry in self.plan.entries if entry.job.number == number)
            print(printable(f"compose: job {number} ({label(job)}): {reason}"), file=sys.stderr)
        counts = {
            "drawn": self.drawn, "were there already": before, "the same as others": states.count("twin"),
            "failed": len(self.failures), "left out after the first failure": left,
        }  # fmt: skip
        told = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "drawn")
        print(f"{len(states)} jobs: {told}, {time.monotonic() - self.started:.1f} s  →  {self.sweep.folder}/index.html")
        return 1 if self.failures else 0


def label(job: Job) -> str:
    """What tells a job from the others, in a line."""
    return " ".join(f"{key}={value if len(value) <= 40 else value[:39] + '…'}" for key, value in job.values.items()) or f"job {job.number}"


def _manner(spec: SweepSpec) -> list[str]:
    """The settings that resuming must know; not those that were for one time."""
    from composer.api import override_of

    kept = {"zip": list(spec.zip), "jobs": spec.jobs, "where": spec.where, "limit": spec.limit, "shuffle": spec.shuffle,
            "on_invalid": spec.on_invalid, "batch": spec.batch, "retries": spec.retries}  # fmt: skip
    plain = vars(replace(SweepSpec())) | {"zip": []}
    return [override_of(f"sweep.{name}", value) for name, value in kept.items() if value != plain[name]]
