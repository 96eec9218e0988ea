"""Main loop of a sweep: start batches, collect their output, and write each job before the next one counts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from composer.config.python_values import override_of
from composer.config.recipes import is_recipe
from composer.errors import ComposerError, shorten
from composer.sweeps.grammar import Job
from composer.sweeps.journal import Journal
from composer.sweeps.ledger import DROPPED, Ledger, Row, count_states, read_last_request, rows_as_data
from composer.sweeps.parse import Sweep
from composer.sweeps.plan import Batch, Entry, Plan
from composer.sweeps.preview import speedup_table
from composer.sweeps.progress import SweepProgress
from composer.sweeps.report.live import LiveReport
from composer.sweeps.spec import SheetSpec, SweepSpec
from composer.sweeps.status import best_lines, label_values
from composer.sweeps.upgrade_notes import upgrade_notes
from composer.sweeps.worker import JobFailure, JobOutput, is_batch_safe
from composer.system import console, interrupts
from composer.version import __version__


class Driver:
    """Runner of a sweep: it feeds batches to an executor, writes their output, and keeps the pages up to date.

    The caller holds the lock of the sweep's folder.

    Args:
        sweep: The sweep, with invalid jobs removed.

    Attributes:
        journal: State of the jobs.
        plan: Order of the jobs.
        ledger: Rows of the folder.
        failed: Whether a job has failed.
        generated: Number of jobs generated so far.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.sweep, self.executor, self.spec = sweep, sweep.executor, sweep.spec
        self.journal = Journal.read(sweep.folder)
        self.journal.remove_drafts()
        self.plan = Plan(sweep.jobs, self.journal, sweep.spec.batch, sweep.resolve, is_batch_safe)
        self.ledger = Ledger(self.journal)
        self.failed, self.generated = False, 0
        self._printed_notes = set[str]()
        self._started_at, self._log_started = time.monotonic(), False

    def run(self) -> int:
        """Generate all jobs that are not done, and print what came of them.

        Returns:
            The exit code: 0 when every job is done, 1 when some failed.
        """
        self._write_request()
        self.progress = SweepProgress(len(self.sweep.jobs))
        try:
            with self.progress.shown(), self.executor:
                self._run_batches()
        finally:
            self.journal.running.clear()
            self.journal.flush()
            finished = not any(entry.state in ("waiting", "running") for entry in self.plan.entries)
            self.report.write(finished=finished, now=True)
        return self._print_result()

    def _write_request(self) -> None:
        """Write the request to sweep.json before anything runs."""
        title = sweep_title(self.sweep)
        header = {
            "composer": __version__,
            "title": title,
            "overrides": self.sweep.job_overrides,
            "manner": _sweep_overrides(self.spec, self.sweep.sheet),
            "cwd": str(Path.cwd()),
        }
        self.ledger.write_request(self.sweep.jobs, self.sweep.invalid, header)
        self.report = LiveReport(self.sweep.folder, title, self.ledger, self.sweep.sheet)
        for note in upgrade_notes(self.ledger.rows(), self.journal.briefs):
            console.print_note(note)

    def _run_batches(self) -> None:
        """Start and collect batches until no job waits or runs."""
        while True:
            interrupts.raise_if_interrupted()
            while self.executor.free and not (self.spec.fail_fast and self.failed):
                batch = self.plan.next(self.executor.loaded)
                while self.plan.unresolvable:
                    self._fail(*self.plan.unresolvable.pop(0))
                if batch is None:
                    break
                self._start(batch)
            if not self.executor.busy:
                return
            self._collect(*self.executor.wait())

    def _start(self, batch: Batch) -> None:
        for entry in batch.entries:
            entry.state = "running" if entry.state == "waiting" else entry.state
            entry.tries += 1
        if not self._log_started:
            self.journal.start(__version__)
        self._log_started = True
        self.journal.begin([entry.resolved_id for entry in batch.entries])
        self.executor.start(batch, self.progress)

    def _collect(self, batch: Batch, outcome: list[JobOutput] | JobFailure) -> None:
        if isinstance(outcome, JobFailure):
            return self._handle_failure(batch, outcome)
        records = [output.record for output in outcome]
        images = sum(len(record["images"]) for record in records)
        iterations = max(record["iterations"] for record in records)
        seconds = sum(record["seconds"] for record in records) / max(images * iterations, 1)
        has_memory_left = all(output.has_memory_left for output in outcome)
        self.plan.sizes[batch.loads].record_run(len(batch.entries), seconds, has_memory_left)
        for i, (entry, output) in enumerate(zip(batch.entries, outcome)):
            if entry.state == "running":  # a done job in a repeated batch was generated only for the others
                self._save(entry, output, {"index": i, "jobs": [other.id for other in batch.entries]})
        self.report.write(finished=False)

    def _save(self, entry: Entry, output: JobOutput, batch: Mapping[str, Any]) -> None:
        job, job_id = entry.job, entry.resolved_id
        subfolder = self.journal.new_subfolder(job.number)
        details = {"number": job.number, "key": job.key, "values": job.values, "batch": batch, "tries": entry.tries}
        try:
            self.journal.commit(job_id, subfolder, output.files, {**output.record, "sweep": details})
        except OSError as error:
            self._fail(entry, f"can't be written: {error.strerror}")
            return
        entry.finish("done")
        self.generated += 1
        for note in output.record.get("notes", ()):
            if note not in self._printed_notes:
                self._printed_notes.add(note)
                self.progress.print(f"compose: note: {note}")
        image = self.sweep.folder / subfolder / self.journal.briefs[job_id]["images"][0]
        self.progress.advance(1, f"{image}  {label_job(job)}  ({output.record['seconds']:.1f} s)")

    def _handle_failure(self, batch: Batch, failure: JobFailure) -> None:
        """Run the jobs of a failed batch in smaller batches, and failed jobs again as often as requested."""
        several = len(batch.entries) > 1
        if failure.memory and several:
            self.plan.sizes[batch.loads].record_failure(len(batch.entries))
            note = f"{len(batch.entries)} jobs at once: {failure.reason}; half of them next"
            self.progress.print(f"compose: note: {note}")
        has_saving = failure.memory and not several and self._add_memory_option(batch.entries[0])
        retries_left = batch.entries[0].tries <= self.spec.retries and not failure.request
        for entry in batch.entries:
            if entry.state == "running" and (several or has_saving or retries_left):
                entry.state = "waiting"
                entry.tries -= several  # the batch failed, not yet the job
                self.journal.requeue(entry.resolved_id)
            elif entry.state == "running":
                self._fail(entry, failure.reason)
        if several and not failure.memory:
            self.plan.sizes[batch.loads].record_failure(2)  # one by one, to find the failing job

    def _add_memory_option(self, entry: Entry) -> bool:
        """Add the next effective memory option to a job that ran out of memory; False if none is left."""
        from composer.options.memory.slicing import LADDER
        from composer.recipes.requests import tried_request

        if is_recipe(entry.tree):
            return False  # memory=auto of a step is what does it
        for name, target in LADDER.items():
            options = entry.tree.get("memory") or {}
            if name in options:
                continue
            tree = {**entry.tree, "memory": {**options, name: {"_target_": target}}}
            try:
                checked = self.sweep.worker.check(tree)
                tried_request(checked)
            except ComposerError:
                continue  # it has no effect on this model
            entry.tree, entry.checked = tree, checked
            note = f"{label_job(entry.job)}: out of memory; once more with memory={name}"
            self.progress.print(f"compose: note: {note}")
            return True
        return False

    def _fail(self, entry: Entry, reason: str) -> None:
        entry.finish("failed")
        self.failed = True
        job = entry.job
        details = {"key": job.key, "number": job.number, "values": job.values, "tries": entry.tries}
        self.journal.fail(entry.id or job.key, reason, **details)
        self.progress.advance(1, f"failed  {label_job(job)}  {reason}")

    def _print_result(self) -> int:
        rows = self.ledger.rows()
        for row in rows:
            if row.state == "failed":
                label = label_values(row.values) or f"job {row.number}"
                console.print_failure(f"job {row.number} ({label}): {row.reason}")
        if self.generated and (table := speedup_table(self.plan, self.journal)):
            for line in table.splitlines():
                console.print_progress(line)
        for line in best_lines(rows, self.journal.briefs):
            console.print_progress(line)
        counts = self._counts(rows)
        words = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "generated")
        seconds, page = time.monotonic() - self._started_at, f"{self.sweep.folder}/index.html"
        data = rows_as_data(self.sweep.folder, rows, self.journal.briefs)
        data |= {"generated": self.generated, "same": counts["the same as others"], "seconds": round(seconds, 3)}
        console.report_result(f"{data['asked']} jobs: {words}, {seconds:.1f} s  →  {page}", [page], **data)
        return 1 if counts["failed"] else 0

    def _counts(self, rows: list[Row]) -> dict[str, int]:
        """Number of jobs by outcome, in the words of the last line."""
        states = count_states(rows)
        images = len({row.id for row in rows if row.state == "done"})
        return {
            "generated": self.generated,
            "were there already": images - self.generated,
            "the same as others": states["done"] - images,
            "failed": states["failed"],
            "invalid": states["invalid"],
            "skipped after the first failure": states["waiting"] + states["running"],
            DROPPED: states[DROPPED],
        }


def sweep_title(sweep: Sweep) -> str:
    """Choose the title of a sweep's pages.

    Args:
        sweep: The sweep.

    Returns:
        The overrides as typed. A sweep that continues the same request keeps the title that it has.
    """
    last = read_last_request(sweep.folder)
    is_same = (last.get("overrides"), last.get("manner")) == (
        sweep.job_overrides,
        _sweep_overrides(sweep.spec, sweep.sheet),
    )
    title = last.get("title") if is_same else None
    return str(title or shorten(sweep.title, 300) or sweep.folder.name)


def label_job(job: Job) -> str:
    """Label a job by its swept values.

    Args:
        job: A job.

    Returns:
        One line.
    """
    return label_values(job.values) or f"job {job.number}"


def _sweep_overrides(spec: SweepSpec, sheet: SheetSpec) -> list[str]:
    """Settings that `compose resume` must repeat; others hold for one run of the command."""
    shown = [override_of(f"sheet.{name}", value) for name, value in vars(sheet).items() if value is not None]
    kept = {"zip": list(spec.zip), "jobs": spec.jobs, "where": spec.where, "limit": spec.limit, "shuffle": spec.shuffle,
            "on_invalid": spec.on_invalid, "batch": spec.batch, "retries": spec.retries}  # fmt: skip
    defaults = vars(SweepSpec()) | {"zip": []}
    return [*(override_of(f"sweep.{name}", value) for name, value in kept.items() if value != defaults[name]), *shown]
