"""Table of all jobs of a sweep's folder: every job that was ever requested in it is one row, in one state.

The request is stored in sweep.json; the state follows from the records of the jobs and the journal. ``compose status``,
results.csv, ``--json``, the page and ``compose resume`` all read these rows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from composer.errors import ComposerError
from composer.sweeps.grammar import Job
from composer.sweeps.journal import REQUEST_FILE, Journal, read_request
from composer.sweeps.lock import is_locked
from composer.system.files import write_atomically

#: State of a job that only an earlier request in the folder contains.
DROPPED = "no longer asked for"
STATES = ("done", "failed", "invalid", "running", "waiting", DROPPED)


@dataclass(frozen=True)
class RequestedJob:
    """A job as it is listed in sweep.json; the names of the fields are keys of that file.

    Attributes:
        key: Hash of its overrides.
        number: Position in the request, from 0.
        values: Value of each swept key as text.
        prompt: Its prompt, if the overrides set one.
        reason: Reason why it is invalid, or ``None``.
    """

    key: str
    number: int | None
    values: Mapping[str, str]
    prompt: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Row:
    """A job and its state.

    Attributes:
        number: Position in the present request; ``None`` for jobs that it does not contain.
        state: One of `STATES`.
        values: Value of each swept key as text.
        prompt: Its prompt, if the overrides set one.
        reason: Why it failed or is invalid, or ``None``.
        id: Its id, if known.
        subfolder: Its subfolder; empty if it is not done.
    """

    number: int | None
    state: str
    values: Mapping[str, str]
    prompt: str | None = None
    reason: str | None = None
    id: str | None = None
    subfolder: str = ""


@dataclass
class Ledger:
    """The rows of one folder.

    Attributes:
        journal: State of the jobs.
        requested: Jobs of the present request, in their order.
        former: Jobs of earlier requests that the present one does not contain.
        unlisted: Number of jobs in folders of composer 0.1 and of searches, whose sweep.json counts them without
            listing them; ``None`` elsewhere.
    """

    journal: Journal
    requested: list[RequestedJob] = field(default_factory=list)
    former: list[RequestedJob] = field(default_factory=list)
    unlisted: int | None = None

    @classmethod
    def read(cls, folder: Path) -> Ledger:
        """Read the rows from a folder alone.

        Args:
            folder: Folder of the sweep.

        Returns:
            The ledger. Jobs count as running only while a process holds the folder's lock.

        Raises:
            ComposerError: It is no sweep's folder.
        """
        request, journal = read_request(folder), Journal.read(folder)
        if not is_locked(folder):
            journal.running.clear()
        unlisted = None if "asked" in request else int(request.get("jobs", len(journal.done)))
        requested, former = (_read_jobs(request.get(name)) for name in ("asked", "former"))
        return cls(journal, requested, former, unlisted)

    def write_request(self, jobs: Sequence[Job], invalid: Sequence[tuple[Job, str]], header: Mapping[str, Any]) -> None:
        """Write a new request to sweep.json, and keep the jobs of earlier ones as former jobs.

        Args:
            jobs: Jobs that can run.
            invalid: Jobs that cannot, with the reasons.
            header: Further fields of sweep.json.
        """
        file = self.journal.folder / REQUEST_FILE
        last = read_last_request(file.parent)
        new = [_requested(job, None) for job in jobs] + [_requested(job, reason) for job, reason in invalid]
        self.requested = sorted(new, key=lambda job: job.number or 0)
        keys = {job.key for job in new}
        earlier = [job for name in ("former", "asked") for job in _read_jobs(last.get(name)) if job.key not in keys]
        self.former = list({job.key: job for job in earlier}.values())
        listed = {
            "asked": [asdict(job) for job in self.requested],
            "former": [asdict(job) for job in self.former],
        }
        data = json.dumps({**header, "jobs": len(new), **listed}, indent=1, ensure_ascii=False).encode()
        if not file.exists() or file.read_bytes() != data:
            write_atomically(file, data)

    def rows(self) -> list[Row]:
        """List every job that was ever requested.

        Returns:
            Rows of the present request in its order, then those of earlier requests, then images that no request
            lists.
        """
        rows = [self._row(job) for job in self.requested]
        known = {row.id for row in rows if row.id}
        for job in self.former:
            row = self._row(job)
            if row.id not in known:  # else the present request contains the same job in other words
                rows.append(Row(None, DROPPED, row.values, row.prompt, None, row.id, row.subfolder))
                known |= {row.id} if row.id else set()
        return [*rows, *self._unlisted_rows(known)]

    def _row(self, job: RequestedJob) -> Row:
        def row(state: str, reason: str | None = None, job_id: str | None = None, subfolder: str = "") -> Row:
            return Row(job.number, state, job.values, job.prompt, reason, job_id, subfolder)

        journal, job_id = self.journal, self.journal.ids.get(job.key)
        if job.reason is not None:
            return row("invalid", job.reason)
        if job_id is not None and job_id in journal.done:
            return row("done", None, job_id, journal.done[job_id])
        if job_id in journal.running:
            return row("running", None, job_id)
        reason = (
            journal.failed.get(job.key) if job_id is None else journal.failed.get(job_id, journal.failed.get(job.key))
        )
        return row("waiting" if reason is None else "failed", reason, job_id)

    def _unlisted_rows(self, known: set[str]) -> Iterator[Row]:
        """Images that no row names; where jobs are only counted, also failed jobs and as many waiting ones as
        remain.
        """
        done = {
            job_id: subfolder
            for job_id, subfolder in sorted(self.journal.done.items(), key=lambda item: item[1])
            if job_id not in known
        }
        for job_id, subfolder in done.items():
            values = self.journal.briefs[job_id]["values"]
            yield Row(None, "done" if self.unlisted is not None else DROPPED, values, None, None, job_id, subfolder)
        if self.unlisted is not None:
            yield from (Row(None, "failed", {}, None, reason, job_id) for job_id, reason in self.journal.failed.items())
            remaining = self.unlisted - len(done) - len(self.journal.failed)
            yield from (Row(None, "waiting", {}) for _ in range(remaining))


def count_states(rows: Sequence[Row]) -> dict[str, int]:
    """Count the rows by state.

    Args:
        rows: Rows of a ledger.

    Returns:
        Number of rows of each state, in the order of `STATES`.
    """
    counts = Counter(row.state for row in rows)
    return {state: counts[state] for state in STATES}


def rows_as_data(folder: Path, rows: Sequence[Row], briefs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Convert rows to plain data for ``--json``.

    Args:
        folder: Folder of the sweep, as typed.
        rows: Rows of its ledger.
        briefs: Parts of the records by job id; see `brief`.

    Returns:
        The folder, the counts, and the jobs with the paths of their images.
    """
    counts = {state.replace(" ", "_"): count for state, count in count_states(rows).items()}
    jobs = [
        {
            "number": row.number,
            "state": row.state,
            "reason": row.reason,
            "values": dict(row.values),
            "metrics": {name: value for name, (value, _) in briefs[row.id]["metrics"].items()}
            if row.subfolder and row.id
            else {},
            "images": [f"{folder}/{row.subfolder}/{name}" for name in briefs[row.id]["images"]]
            if row.subfolder and row.id
            else [],
        }
        for row in rows
    ]
    return {"folder": str(folder), "asked": len(rows) - counts["no_longer_asked_for"], **counts, "jobs": jobs}


def _requested(job: Job, reason: str | None) -> RequestedJob:
    prompts = (str(setting.value) for setting in job.settings if setting.key == "prompt" and setting.value is not None)
    return RequestedJob(job.key, job.number, job.values, next(prompts, None), reason)


def read_last_request(folder: Path) -> dict[str, Any]:
    """Read the last request of a folder, if it can be read.

    Args:
        folder: Folder of the sweep.

    Returns:
        The request; empty if there is none or it is damaged. Finished jobs have rows all the same.
    """
    try:
        return read_request(folder)
    except ComposerError:
        return {}


def _read_jobs(items: Any) -> list[RequestedJob]:
    """Jobs listed in sweep.json, of which nothing is trusted."""
    listed = items if isinstance(items, list) else []
    jobs = [job for job in listed if isinstance(job, dict) and isinstance(job.get("values"), dict)]
    names = [field.name for field in fields(RequestedJob)]
    return [_as_job({name: job.get(name) for name in names}) for job in jobs]


def _as_job(values: dict[str, Any]) -> RequestedJob:
    return RequestedJob(**values)
