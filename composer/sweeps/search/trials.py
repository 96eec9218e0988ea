"""Trials of a search: each is suggested by Optuna, generated, measured, and kept in a folder."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.trial import Trial

from composer.errors import ComposerError
from composer.records.measured import job_values
from composer.sweeps.brief import brief
from composer.sweeps.journal import REQUEST_FILE, Journal, clear_folder, read_record
from composer.sweeps.plan import Entry, load_overrides
from composer.sweeps.progress import JobProgress, SweepProgress
from composer.sweeps.ranking import format_value
from composer.sweeps.search.metrics import Objective, Reference, decode_images, read_image_files, reset_peak_memory
from composer.sweeps.search.parse import Search
from composer.sweeps.search.space import Point
from composer.sweeps.search.study import STUDY_FILE, Study
from composer.sweeps.search.summary import Summary, label_point
from composer.sweeps.worker import JobFailure, JobOutput
from composer.system import interrupts
from composer.system.files import write_atomically
from composer.version import __version__

#: Subfolder of the generated reference.
REFERENCE_FOLDER = "reference"


class Trials:
    """Runner of a search. The caller holds the lock of its folder.

    Args:
        search: The search.
        reference: Images to compare with, the run that generates them, or ``None``.
        objectives: What is to be best.
        keys: What determines the values of metrics.

    Raises:
        ComposerError: The system cannot measure the metric.
    """

    def __init__(
        self, search: Search, reference: Reference | Entry | None, objectives: Sequence[Objective], keys: Sequence[Any]
    ) -> None:
        self.search, self.spec, self.space, self.folder = search, search.spec, search.space, search.folder
        if search.fresh:
            clear_folder(self.folder)
            (self.folder / STUDY_FILE).unlink(missing_ok=True)
        self.objectives = objectives
        if "peak_memory" in self.spec.metrics and not reset_peak_memory():
            reason = "this system measures only the peak of the complete process: search on a GPU or on Linux, "
            reason += "or for seconds"
            raise ComposerError("search.metric", "peak_memory", reason)
        self.requested_reference = reference
        self.reference = reference if isinstance(reference, Reference) else None
        self.journal = Journal.read(self.folder)
        self.journal.remove_drafts()
        self.study = Study(self.folder, self._stamp(keys), self.space, self.spec, objectives)
        self.trials = int(min(self.spec.trials, self.space.size))
        self.known_before = len(self.study.known)
        self.generated = 0
        self._warm: set[tuple[str, ...]] = set()
        self._started_at = time.monotonic()

    def _stamp(self, keys: Sequence[Any]) -> str:
        """Hash of what two searches in one folder must have in common to use each other's trials."""
        reference = self.requested_reference
        compared = reference.stamp if isinstance(reference, Reference) else reference and reference.id
        request: list[Any] = [
            sorted(self.search.job_overrides),
            self.spec.metric,
            self.spec.within,
            self.spec.seed,
            compared,
        ]
        request += [keys] if keys else []
        return hashlib.sha256(json.dumps(request).encode()).hexdigest()[:32]

    def run(self) -> int:
        """Run trials until enough points are known or the time is over, and print the best ones.

        Returns:
            The exit code: 0 when some trial meets the request, 1 when none does.
        """
        self._write_request()
        self.progress = SweepProgress(self.trials, min(len(self.study.known), self.trials))
        with self.progress.shown():
            while len(self.study.known) < self.trials and not self._is_late():
                interrupts.raise_if_interrupted()
                if self.reference is None and isinstance(self.requested_reference, Entry):
                    self.reference = self._generate_reference(self.requested_reference)
                self._try(*self.study.next())
        return Summary(
            self.search,
            list(self.study.known.values()),
            generated=self.generated,
            known_before=self.known_before,
            seconds=time.monotonic() - self._started_at,
            objectives=self.objectives,
            has_reference=self.requested_reference is not None,
        ).print()

    def _write_request(self) -> None:
        request = {
            "composer": __version__,
            "overrides": self.search.job_overrides,
            "manner": self.search.run_overrides,
            "cwd": str(Path.cwd()),
            "jobs": self.trials + isinstance(self.requested_reference, Entry),
        }
        write_atomically(self.folder / REQUEST_FILE, json.dumps(request, indent=1, ensure_ascii=False).encode())

    def _is_late(self) -> bool:
        return self.spec.timeout is not None and time.monotonic() - self._started_at >= self.spec.timeout

    def _try(self, trial: Trial, point: Point) -> None:
        number, label = len(self.study.known), label_point(self.space, point)
        trial.set_user_attr("number", number)
        try:
            entry = self.search.trial(point, number)
            subfolder, record, files = self._run(entry)
            distance = None if self.reference is None else self.reference.distance(decode_images(files, record))
            _require_values(self.objectives, record)
        except (ComposerError, JobFailure, OSError) as error:
            interrupts.raise_if_interrupted(error)
            reason = _reason(error)
            self.journal.fail(f"trial {number}", reason, number=number, values=self.space.values(point), tries=1)
            self.study.record(trial, point, {"reason": reason}, succeeded=False)
            self.progress.advance(1, f"failed  {label}  {reason}")
            return
        seconds, peak_memory = record["seconds"], record["peak_memory"]
        metrics = {name: value for name, (value, _) in job_values(record).items()}
        measured = {"place": subfolder, "seconds": seconds, "peak_memory": peak_memory, "distance": distance}
        measured |= {"metrics": metrics} if metrics else {}
        self.study.record(trial, point, measured)
        text = "" if distance is None else f"distance {distance:.2f}, "
        text += "".join(f"{name} {format_value(value)}, " for name, value in metrics.items() if value is not None)
        image = self.folder / subfolder / brief(record)["images"][0]
        self.progress.advance(1, f"{image}  {label}  ({text}{seconds:.2f} s)")

    def _run(self, entry: Entry) -> tuple[str, Mapping[str, Any], Mapping[str, bytes]]:
        """Subfolder, record and image files of a trial: generated, or read if the job is done already."""
        job_id = entry.resolved_id
        subfolder = self.journal.done.get(job_id)
        if subfolder is not None:
            record = read_record(self.folder / subfolder)
            return subfolder, record, read_image_files(self.folder / subfolder, record)
        if "seconds" in self.spec.metrics and load_overrides(entry.job) not in self._warm:
            self._generate(entry)  # warm up: the first image of a model is slower than later ones
        output = self._generate(entry)
        subfolder = self.journal.new_subfolder(entry.job.number)
        details = {"number": entry.job.number, "values": entry.job.values, "tries": 1}
        self.journal.commit(job_id, subfolder, output.files, {**output.record, "sweep": details})
        self.generated += 1
        return subfolder, output.record, output.files

    def _generate(self, entry: Entry) -> JobOutput:
        callbacks = [] if self.progress.bar.disable else [JobProgress(self.progress, f"trial {entry.job.number}")]
        if "peak_memory" in self.spec.metrics:
            reset_peak_memory()
        (output,) = self.search.worker.generate([entry.resolved], callbacks, may_grow=False)
        self._warm.add(load_overrides(entry.job))
        return output

    def _generate_reference(self, entry: Entry) -> Reference:
        """Generate the reference, or read it; its own id keeps it apart from a trial with the same settings."""
        job_id, path = f"{REFERENCE_FOLDER} {entry.id}", self.folder / REFERENCE_FOLDER
        record: Mapping[str, Any]
        files: Mapping[str, bytes]
        if job_id in self.journal.done:
            record = read_record(path)
            files = read_image_files(path, record)
        else:
            try:
                output = self._generate(entry)
            except JobFailure as failure:
                reason = f"can't be generated: {failure.reason}"
                raise ComposerError("search.reference", self.spec.reference, reason) from None
            self.journal.commit(job_id, REFERENCE_FOLDER, output.files, output.record)
            record, files = output.record, output.files
        self.progress.print(f"{path / brief(record)['images'][0]}  the reference  ({record['seconds']:.2f} s)")
        return Reference(str(self.spec.reference), decode_images(files, record))


def _require_values(objectives: Sequence[Objective], record: Mapping[str, Any]) -> None:
    """Let a trial fail whose images could not be measured."""
    for name in (objective.name for objective in objectives):
        if name in (metrics := job_values(record)) and metrics[name][0] is None:
            why = next((note for note in record.get("notes", ()) if note.startswith(f"metric={name}")), "no value")
            raise JobFailure(why)


def _reason(error: ComposerError | JobFailure | OSError) -> str:
    if isinstance(error, JobFailure):
        return error.reason
    return str(error) if isinstance(error, ComposerError) else f"can't be written: {error}"
