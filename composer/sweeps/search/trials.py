"""The trials of a search: asked of Optuna, generated, told to Optuna, each kept in a folder; and what they come to."""

from __future__ import annotations

import hashlib
import json
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from composer.errors import ComposerError, printable, shorten
from composer.sweeps.brief import brief
from composer.sweeps.journal import ASKED, Journal, clear, record_of
from composer.sweeps.plan import Entry, loads
from composer.sweeps.preview import format_mib, rows
from composer.sweeps.progress import JobLine, Lines
from composer.sweeps.search.metrics import Reference, decoded, files_in, forget_peak
from composer.sweeps.search.parse import Search
from composer.sweeps.search.space import Point
from composer.sweeps.worker import JobFailure, JobOutput
from composer.system import console, interrupts
from composer.system.files import write_atomically
from composer.version import __version__

#: Optuna's own journal in a search's folder, and the folder of what is compared with.
STUDY, REFERENCE = "optuna.jsonl", "reference"
#: Trials that are shown at the end.
FEW = 10
#: Times in a row that Optuna may ask for what is known, until it is given something near that is not.
REPEATS = 3


class Trials:
    """known: the trial that tried a point first, failed ones too. told: how many came to an end, those that were known
    before too.
    """

    def __init__(self, search: Search, reference: Reference | Entry | None) -> None:
        self.search, self.spec, self.space, self.folder = search, search.spec, search.space, search.folder
        if search.fresh:
            clear(self.folder)
            (self.folder / STUDY).unlink(missing_ok=True)
        if self.spec.metric == "peak_memory" and not forget_peak():
            reason = "this system tells only the most that the process ever held: search on a GPU or on Linux, or for seconds"
            raise ComposerError("search.metric", self.spec.metric, reason)
        self.asked, self.reference = reference, reference if isinstance(reference, Reference) else None
        self.journal = Journal.read(self.folder)
        self.journal.tidy()
        self.study = opened(self.folder / STUDY, self._stamp())
        self.known: dict[Point, FrozenTrial] = {}
        self.told = 0
        for trial in self.study.trials:
            self._recall(trial)
        self.wanted = min(self.spec.trials, self.space.size)
        self.warm: set[tuple[str, ...]] = set()
        self.started, self.drawn, self.before = time.monotonic(), 0, len(self.known)

    def _stamp(self) -> str:
        """What two searches in one folder must have in common to go on with each other's trials: all but how many."""
        compared = self.asked.stamp if isinstance(self.asked, Reference) else self.asked and self.asked.id
        what = [sorted(self.search.own), self.spec.metric, self.spec.within, self.spec.seed, compared]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]

    def _recall(self, trial: FrozenTrial) -> None:
        """Of an earlier process: what it ended, and what it was torn from, which is next."""
        torn = trial.state == TrialState.RUNNING
        if torn:
            self.study.tell(trial.number, state=TrialState.FAIL)
        if trial.state == TrialState.COMPLETE or "reason" in trial.user_attrs:
            self.known.setdefault(self.space.point(trial.params), trial)
            self.told += 1
        elif torn and set(trial.params) == set(self.space.distributions):
            self.study.enqueue_trial(trial.params)

    def run(self) -> int:
        about = {
            "composer": __version__,
            "overrides": self.search.own,
            "manner": self.search.manner,
            "cwd": str(Path.cwd()),
        }
        about["jobs"] = int(self.wanted) + isinstance(self.asked, Entry)
        write_atomically(self.folder / ASKED, json.dumps(about, indent=1, ensure_ascii=False).encode())
        self.lines = Lines(int(self.wanted), min(len(self.known), self.wanted))
        with self.lines.shown():
            while len(self.known) < self.wanted and not self._late():
                interrupts.raise_if_interrupted()
                if self.reference is None and self.asked is not None:
                    self.reference = self._drawn_reference(self.asked)
                self._try(*self._next())
        return self._report()

    def _late(self) -> bool:
        return self.spec.timeout is not None and time.monotonic() - self.started >= self.spec.timeout

    # --- what is next
    # ---------------------------------------------------------------------------------------------------

    def _next(self) -> tuple[Trial, Point]:
        """Settings that were not tried; what was tried counts again for Optuna, and is not drawn."""
        trial, point = self._ask()
        for _ in range(REPEATS):
            if point not in self.known:
                return trial, point
            self._again(trial, self.known[point])
            trial, point = self._ask()
        while point in self.known:
            self._again(trial, self.known[point])
            self.study.enqueue_trial(self.space.untried(trial.params, self.known, self._random()))
            trial, point = self._ask()
        return trial, point

    def _ask(self) -> tuple[Trial, Point]:
        # seeded anew for each trial, so that an interrupted search goes the way that it would have gone
        self.study.sampler = optuna.samplers.TPESampler(seed=self._random().getrandbits(32))
        trial = self.study.ask(self.space.distributions)
        return trial, self.space.point(trial.params)

    def _random(self) -> Random:
        return Random(f"{self.spec.seed} {self.told}")

    # --- one trial
    # ------------------------------------------------------------------------------------------------------

    def _try(self, trial: Trial, point: Point) -> None:
        number, words = len(self.known), self._label(point)
        trial.set_user_attr("number", number)
        try:
            entry = self.search.trial(point, number)
            place, record, files = self._made(entry)
            distance = None if self.reference is None else self.reference.distance(decoded(files, record))
        except (ComposerError, JobFailure, OSError) as error:
            interrupts.raise_if_interrupted(error)
            reason = (
                str(error)
                if isinstance(error, ComposerError)
                else getattr(error, "reason", None) or f"can't be written: {error}"
            )
            self.journal.fail(f"trial {number}", reason, number=number, values=self.space.values(point), tries=1)
            trial.set_user_attr("reason", reason)
            self.known[point] = self._tell(trial, None)
            self.lines.ended(1, f"failed  {words}  {reason}")
            return
        measured = {
            "place": place,
            "seconds": record["seconds"],
            "peak_memory": record["peak_memory"],
            "distance": distance,
        }
        for key, value in measured.items():
            trial.set_user_attr(key, value)
        self.known[point] = self._tell(trial, measured)
        far = "" if distance is None else f"distance {distance:.2f}, "
        self.lines.ended(
            1, f"{self.folder / place / brief(record)['images'][0]}  {words}  ({far}{record['seconds']:.2f} s)"
        )

    def _made(self, entry: Entry) -> tuple[str, Mapping[str, Any], Mapping[str, bytes]]:
        """A trial's folder, record and images: generated, or found where an earlier process or another search left
        them.
        """
        place = self.journal.done.get(entry.id)
        if place is not None:
            record = record_of(self.folder / place)
            return place, record, files_in(self.folder / place, record)
        if self.spec.metric == "seconds" and loads(entry.job) not in self.warm:
            self._draw(entry)  # the first image with a model is slower than the next ones, so its time says nothing
        made = self._draw(entry)
        place = self.journal.place(entry.job.number)
        about = {"number": entry.job.number, "values": entry.job.values, "tries": 1}
        self.journal.commit(entry.id, place, made.files, {**made.record, "sweep": about})
        self.drawn += 1
        return place, made.record, made.files

    def _draw(self, entry: Entry) -> JobOutput:
        line = [] if self.lines.bar.disable else [JobLine(self.lines, f"trial {entry.job.number}")]
        if self.spec.metric == "peak_memory":
            forget_peak()
        (made,) = self.search.worker.draw([entry.checked], line)
        self.warm.add(loads(entry.job))
        return made

    def _drawn_reference(self, entry: Entry) -> Reference:
        """Kept under an id of its own, so that a trial with the same settings is measured like any other."""
        job, place = f"{REFERENCE} {entry.id}", self.folder / REFERENCE
        if job in self.journal.done:
            record = record_of(place)
            files: Mapping[str, bytes] = files_in(place, record)
        else:
            try:
                made = self._draw(entry)
            except JobFailure as failed:
                raise ComposerError(
                    "search.reference", self.spec.reference, f"can't be generated: {failed.reason}"
                ) from None
            self.journal.commit(job, REFERENCE, made.files, made.record)
            record, files = made.record, made.files
        self.lines.say(f"{place / brief(record)['images'][0]}  the reference  ({record['seconds']:.2f} s)")
        return Reference(self.spec.reference, decoded(files, record))

    def _again(self, trial: Trial, first: FrozenTrial) -> None:
        """It would come to what the first trial with the same settings came to."""
        if "reason" in first.user_attrs:
            trial.set_user_attr("reason", first.user_attrs["reason"])
        self._tell(trial, None if "reason" in first.user_attrs else first.user_attrs)

    def _tell(self, trial: Trial, measured: Mapping[str, Any] | None) -> FrozenTrial:
        """What a trial came to, None where it failed."""
        self.told += 1
        if measured is None:
            return self.study.tell(trial, state=TrialState.FAIL)
        if self.spec.within is not None:
            trial.set_constraint("within", measured["distance"] - self.spec.within)
        return self.study.tell(trial, measured[self.spec.metric])

    # --- what they came to
    # ----------------------------------------------------------------------------------------------

    def _report(self) -> int:
        """The best trials and how to generate the first of them again, or why there is none."""
        done = [trial for trial in self.known.values() if trial.state == TrialState.COMPLETE]
        failed = [trial for trial in self.known.values() if trial.state != TrialState.COMPLETE]
        best = sorted(filter(self._near, done), key=lambda trial: (trial.value, trial.number))
        for trial in failed:
            label = self._label(self.space.point(trial.params))
            print(
                printable(f"compose: trial {trial.user_attrs['number']} ({label}): {trial.user_attrs['reason']}"),
                file=sys.stderr,
            )
        if best:
            for line in rows([self._heads(), *map(self._cells, best[:FEW])]).splitlines():
                console.print_progress(line)
        counts = {
            "generated": self.drawn, "known before": self.before, "too far from the reference": len(done) - len(best),
            "failed": len(failed),
        }  # fmt: skip
        told = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "generated")
        facts = dict(zip(("generated", "known", "too_far", "failed"), counts.values()))
        seconds = time.monotonic() - self.started
        again = printable(self.search.command(self.space.point(best[0].params))) if best else None
        words = f"{len(self.known)} trials: {told}, {seconds:.1f} s  →  {self.folder}" + (
            f"\nbest: {again}" if again else ""
        )
        console.report_result(
            words, [self.folder], trials=len(self.known), **facts, seconds=round(seconds, 3), best=again
        )
        if best:
            return 0
        print(printable(f"compose: {self._why_none(done)}"), file=sys.stderr)
        return 1

    def _near(self, trial: FrozenTrial) -> bool:
        return self.spec.within is None or trial.user_attrs["distance"] <= self.spec.within

    def _why_none(self, done: list[FrozenTrial]) -> str:
        if not done:
            return (
                "search: every trial failed"
                if self.known
                else f"search.timeout={self.spec.timeout}: no trial was begun"
            )
        nearest = min(done, key=lambda trial: trial.user_attrs["distance"])
        far = (
            f"the nearest is {nearest.user_attrs['distance']:.2f} away: {self._label(self.space.point(nearest.params))}"
        )
        return f"search.within={self.spec.within}: no trial is that near to the reference; {far}"

    def _label(self, point: Point) -> str:
        return " ".join(f"{key}={shorten(value, 40)}" for key, value in self.space.values(point).items())

    def _heads(self) -> tuple[str, ...]:
        """Of the columns: the axes, what was measured, and the folder."""
        keys = (axis.key.lstrip("+") for axis in self.space.axes)
        return (
            *keys,
            *["distance"] * (self.asked is not None),
            "seconds",
            *["peak memory"] * (self.spec.metric == "peak_memory"),
            "folder",
        )

    def _cells(self, trial: FrozenTrial) -> tuple[str, ...]:
        found, values = trial.user_attrs, self.space.values(self.space.point(trial.params)).values()
        distance = [f"{found['distance']:.2f}"] if self.asked is not None else []
        memory = [format_mib(found["peak_memory"])] if self.spec.metric == "peak_memory" else []
        return (
            *(shorten(printable(value), 40) for value in values),
            *distance,
            f"{found['seconds']:.3f}",
            *memory,
            found["place"],
        )


def opened(file: Path, name: str) -> optuna.Study:
    """The study of this name in Optuna's journal, with what earlier processes told it."""
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    mend(file)
    storage = JournalStorage(JournalFileBackend(str(file), lock_obj=Unlocked()))
    return optuna.create_study(storage=storage, study_name=name, direction="minimize", load_if_exists=True)


def mend(file: Path) -> None:
    """Cut off a line that was not written to its end, after which Optuna could read no other."""
    if file.exists() and not (text := file.read_bytes()).endswith(b"\n"):
        write_atomically(file, text[: text.rfind(b"\n") + 1])


class Unlocked:
    """Instead of Optuna's lock, which a killed process leaves behind: whoever writes here has the folder's."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None
