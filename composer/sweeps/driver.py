"""Generates a sweep: batches out, images back, each written down before the next thing is believed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from composer.config.python_values import override_of
from composer.errors import ComposerError, shorten
from composer.sweeps.grammar import Job
from composer.sweeps.journal import Journal
from composer.sweeps.ledger import DROPPED, Ledger, before_in, counted, facts
from composer.sweeps.parse import Sweep
from composer.sweeps.plan import Batch, Entry, Plan
from composer.sweeps.preview import speedup_table
from composer.sweeps.progress import Lines
from composer.sweeps.report.live import Pages
from composer.sweeps.spec import SweepSpec
from composer.sweeps.status import told_by
from composer.sweeps.upgraded import upgraded
from composer.sweeps.worker import JobFailure, JobOutput, batch_safe
from composer.system import console, interrupts
from composer.version import __version__


class Driver:
    """Feeds batches to an executor, writes down what comes back, and keeps the pages up to date."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep, self.executor, self.spec = sweep, sweep.executor, sweep.spec
        self.journal = Journal.read(sweep.folder)
        self.journal.tidy()
        self.plan = Plan(sweep.jobs, self.journal, sweep.spec.batch, sweep.settle, batch_safe)
        self.ledger = Ledger(self.journal)
        self.failed, self.said = False, set[str]()
        self.started, self.drawn, self.begun = time.monotonic(), 0, False

    def run(self) -> int:
        self._write_down()
        self.lines = Lines(len(self.sweep.jobs))
        try:
            with self.lines.shown(), self.executor:
                self._work()
        finally:
            self.journal.running.clear()
            self.journal.flush()
            self.pages.write(
                finished=not any(entry.state in ("waiting", "running") for entry in self.plan.entries), now=True
            )
        return self._report()

    def _write_down(self) -> None:
        """What is asked for, before anything is done about it."""
        title = title_of(self.sweep)
        about = {"composer": __version__, "title": title, "overrides": self.sweep.own, "manner": _manner(self.spec)}
        self.ledger.ask(self.sweep.jobs, self.sweep.invalid, {**about, "cwd": str(Path.cwd())})
        self.pages = Pages(self.sweep.folder, title, self.ledger, self.sweep.sheet)
        for note in upgraded(self.ledger.rows(), self.journal.briefs):
            console.print_note(note)

    def _work(self) -> None:
        """Until nothing waits and nothing is under way."""
        while True:
            interrupts.raise_if_interrupted()
            while self.executor.free and not self._stopped():
                batch = self.plan.next(self.executor.loaded)
                while self.plan.unsettled:
                    self._fail(*self.plan.unsettled.pop(0))
                if batch is None:
                    break
                self._begin(batch)
            if not self.executor.busy:
                return
            batch, outcome = self.executor.wait()
            self._ended(batch, outcome)

    def _stopped(self) -> bool:
        return self.spec.fail_fast and self.failed

    def _begin(self, batch: Batch) -> None:
        for entry in batch.entries:
            entry.state = "running" if entry.state == "waiting" else entry.state
            entry.tries += 1
        if not self.begun:
            self.journal.start(__version__)
        self.begun = True
        self.journal.begin([entry.id for entry in batch.entries])
        self.executor.start(batch, self.lines)

    def _ended(self, batch: Batch, outcome: list[JobOutput] | JobFailure) -> None:
        if isinstance(outcome, JobFailure):
            return self._went_wrong(batch, outcome)
        records = [made.record for made in outcome]
        images, iterations = (
            sum(len(record["images"]) for record in records),
            max(record["iterations"] for record in records),
        )
        seconds = sum(record["seconds"] for record in records) / max(images * iterations, 1)
        self.plan.sizes[batch.loads].ran(len(batch.entries), seconds, all(made.room for made in outcome))
        for i, (entry, made) in enumerate(zip(batch.entries, outcome)):
            if entry.state == "running":  # one that was done before was generated for the sake of the others
                self._keep(entry, made, {"index": i, "jobs": [each.id for each in batch.entries]})
        self.pages.write(finished=False)

    def _keep(self, entry: Entry, made: JobOutput, batch: Mapping[str, Any]) -> None:
        place = self.journal.place(entry.job.number)
        about = {
            "number": entry.job.number,
            "key": entry.job.key,
            "values": entry.job.values,
            "batch": batch,
            "tries": entry.tries,
        }
        try:
            self.journal.commit(entry.id, place, made.files, {**made.record, "sweep": about})
        except OSError as error:
            self._fail(entry, f"can't be written: {error.strerror}")
            return
        entry.over("done")
        self.drawn += 1
        for note in made.record.get("notes", ()):
            if note not in self.said:
                self.said.add(note)
                self.lines.say(f"compose: note: {note}")
        where = self.sweep.folder / place / self.journal.briefs[entry.id]["images"][0]
        self.lines.ended(1, f"{where}  {label(entry.job)}  ({made.record['seconds']:.1f} s)")

    def _went_wrong(self, batch: Batch, failed: JobFailure) -> None:
        """Try smaller batches, then each job again as often as was asked for."""
        several = len(batch.entries) > 1
        if failed.memory and several:
            self.plan.sizes[batch.loads].failed(len(batch.entries))
            self.lines.say(f"compose: note: {len(batch.entries)} jobs at once: {failed.reason}; half of them next")
        saved = failed.memory and not several and self._save(batch.entries[0])
        again = several or saved or (batch.entries[0].tries <= self.spec.retries and not failed.request)
        for entry in batch.entries:
            if entry.state == "running" and again:
                entry.state = "waiting"
                entry.tries -= several  # the batch failed, not yet the job
                self.journal.put_back(entry.id)
            elif entry.state == "running":
                self._fail(entry, failed.reason)
        if several and not failed.memory:
            self.plan.sizes[batch.loads].failed(2)  # one by one, to find the one at fault

    def _save(self, entry: Entry) -> bool:
        """Give a job that ran out of memory the next memory option that helps; False where none is left. Its record
        tells.
        """
        from composer.options.memory.slicing import LADDER
        from composer.pipelines.build import parts

        for name, target in LADDER.items():
            there = entry.tree.get("memory") or {}
            if name in there:
                continue
            tree = {**entry.tree, "memory": {**there, name: {"_target_": target}}}
            try:
                checked = self.sweep.worker.checked(tree)
                parts(checked)
            except ComposerError:
                continue  # it would do nothing here
            entry.tree, entry.checked = tree, checked
            self.lines.say(f"compose: note: {label(entry.job)}: out of memory; once more with memory={name}")
            return True
        return False

    def _fail(self, entry: Entry, reason: str) -> None:
        entry.over("failed")
        self.failed = True
        job = entry.job
        self.journal.fail(
            entry.id or job.key, reason, key=job.key, number=job.number, values=job.values, tries=entry.tries
        )
        self.lines.ended(1, f"failed  {label(job)}  {reason}")

    def _report(self) -> int:
        rows = self.ledger.rows()
        there = counted(rows)
        for row in rows:
            if row.state == "failed":
                console.print_failure(f"job {row.number} ({told_by(row.values) or f'job {row.number}'}): {row.reason}")
        if self.drawn and (told := speedup_table(self.plan, self.journal)):
            for line in told.splitlines():
                console.print_progress(line)
        images = len({row.id for row in rows if row.state == "done"})
        counts = {
            "generated": self.drawn, "were there already": images - self.drawn, "the same as others": there["done"] - images,
            "failed": there["failed"], "invalid": there["invalid"], "left out after the first failure": there["waiting"] + there["running"],
            DROPPED: there[DROPPED],
        }  # fmt: skip
        words = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "generated")
        seconds, page = time.monotonic() - self.started, f"{self.sweep.folder}/index.html"
        more = facts(self.sweep.folder, rows, self.journal.briefs)
        more = {**more, "generated": self.drawn, "same": there["done"] - images, "seconds": round(seconds, 3)}
        console.report_result(f"{more['asked']} jobs: {words}, {seconds:.1f} s  →  {page}", [page], **more)
        return 1 if there["failed"] else 0


def title_of(sweep: Sweep) -> str:
    """What was typed; a request that goes on keeps the words in which it was typed first."""
    before = before_in(sweep.folder)
    same = (before.get("overrides"), before.get("manner")) == (sweep.own, _manner(sweep.spec))
    title = before.get("title") if same else None
    return str(title or shorten(sweep.title, 300) or sweep.folder.name)


def label(job: Job) -> str:
    """What tells a job from the others, in a line."""
    return told_by(job.values) or f"job {job.number}"


def _manner(spec: SweepSpec) -> list[str]:
    """The settings that resuming must know; not those that were for one time."""
    kept = {"zip": list(spec.zip), "jobs": spec.jobs, "where": spec.where, "limit": spec.limit, "shuffle": spec.shuffle,
            "on_invalid": spec.on_invalid, "batch": spec.batch, "retries": spec.retries}  # fmt: skip
    plain = vars(SweepSpec()) | {"zip": []}
    return [override_of(f"sweep.{name}", value) for name, value in kept.items() if value != plain[name]]
