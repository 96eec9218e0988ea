"""The queue of jobs: a SQLite database that server and workers share, so that nothing is lost when one of them is
killed.

A job is claimed by one worker in one transaction. Its files are written first and its record last; a job whose worker
was killed is done if the record exists, and waits again otherwise.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from composer.errors import ComposerError
from composer.server.process_ends import ProcessEnd

#: States of a job; the last three are final.
STATES = ("queued", "running", "done", "failed", "cancelled")
FINAL = STATES[2:]
#: Times that a job may end its worker before it counts as failed: that the worker crashed, or that others killed it,
#: which is not the job's fault; but programs that watch memory kill too, and no job may begin for ever.
MAX_CRASHES, MAX_KILLS = 5, 20

_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, client TEXT NOT NULL, words TEXT NOT NULL,
    state TEXT NOT NULL, created REAL NOT NULL, started REAL, ended REAL, attempts INTEGER NOT NULL DEFAULT 0,
    worker INTEGER, step INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL DEFAULT 0,
    previews INTEGER NOT NULL DEFAULT 0,
    cancel INTEGER NOT NULL DEFAULT 0, files TEXT NOT NULL DEFAULT '[]', error TEXT, sweep TEXT,
    favourite INTEGER NOT NULL DEFAULT 0, crashes INTEGER NOT NULL DEFAULT 0, kills INTEGER NOT NULL DEFAULT 0,
    metrics TEXT NOT NULL DEFAULT '{}');
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, client, number);
CREATE INDEX IF NOT EXISTS jobs_by_number ON jobs (state, number);
CREATE INDEX IF NOT EXISTS jobs_by_sweep ON jobs (sweep, number);
CREATE TABLE IF NOT EXISTS clients (name TEXT PRIMARY KEY, turn INTEGER NOT NULL);
"""
#: The first job of the client whose last turn is longest ago.
_NEXT = """
SELECT jobs.id, jobs.client FROM jobs LEFT JOIN clients ON clients.name = jobs.client
WHERE state = 'queued' ORDER BY COALESCE(turn, 0), number LIMIT 1
"""


class QueueFull(ComposerError):
    """A request that would make the queue longer than it may be."""


@dataclass(frozen=True, kw_only=True)
class QueuedJob:
    """A job as the queue has it.

    Attributes:
        id: Its name in addresses.
        number: Its number, by the time it was submitted.
        client: Who submitted it, for fairness.
        words: Overrides, as on the command line.
        state: One of `STATES`.
        created: Time of submission, in seconds since 1970; so are `started` and `ended`.
        attempts: Times that a worker began it.
        worker: Number of the worker that has it or had it.
        step: Steps that are done, of `total`.
        previews: Number of previews that were written.
        files: Names of its files, images first.
        error: Why it failed: `message`, `key`, `value`, `reason`, `allowed`.
        sweep: Name that the jobs of a sweep have in common.
        favourite: Whether somebody marked it, so that its files are not removed with old ones.
        crashes: Times that its worker crashed while it ran.
        kills: Times that its worker was killed from outside while it ran.
        metrics: Metric → its value for each image; None where it could not be measured.
    """

    id: str
    number: int
    client: str
    words: tuple[str, ...]
    state: str
    created: float
    started: float | None = None
    ended: float | None = None
    attempts: int = 0
    worker: int | None = None
    step: int = 0
    total: int = 0
    previews: int = 0
    cancel: int = 0
    files: tuple[str, ...] = ()
    error: Mapping[str, Any] | None = field(default=None)
    sweep: str | None = None
    favourite: int = 0
    crashes: int = 0
    kills: int = 0
    metrics: Mapping[str, Sequence[float | None]] = field(default_factory=dict)


class JobQueue:
    """The queue in a directory; each method is one transaction, from any process or thread.

    Args:
        folder: Directory of the service.
        longest: Most jobs that may wait.
    """

    def __init__(self, folder: Path, longest: int = 1000) -> None:
        self.folder, self.longest = folder, longest
        folder.mkdir(parents=True, exist_ok=True)
        with self._transaction() as db:
            for statement in _TABLES.split(";"):
                db.execute(statement)
            known = {row["name"] for row in db.execute("PRAGMA table_info(jobs)")}
            for name in {"favourite", "crashes", "kills"} - known:  # of an older service
                db.execute(f"ALTER TABLE jobs ADD COLUMN {name} INTEGER NOT NULL DEFAULT 0")
            if "metrics" not in known:
                db.execute("ALTER TABLE jobs ADD COLUMN metrics TEXT NOT NULL DEFAULT '{}'")
        # The last connection that closes moves all changes into the database, which takes 10 ms: one stays open.
        self._kept = sqlite3.connect(folder / "queue.db", timeout=30, check_same_thread=False)
        self._kept.execute("SELECT 1 FROM jobs LIMIT 1").fetchall()

    @contextmanager
    def _transaction(self, writes: bool = True) -> Iterator[sqlite3.Connection]:
        """A connection of its own: SQLite's may not be shared by threads, and opening one takes 0.1 ms.

        One that only reads does not wait for those that write.
        """
        db = sqlite3.connect(self.folder / "queue.db", timeout=30, isolation_level=None)
        try:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")  # on the disk before a client is answered
            db.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
            yield db
            db.execute("COMMIT")
        finally:
            db.close()  # rolls back what was not committed

    def add(self, client: str, several: Sequence[Sequence[str]], sweep: str | None = None) -> list[QueuedJob]:
        """Add jobs, all or none.

        Args:
            client: Who submits them.
            several: Overrides of each job.
            sweep: Name that they have in common.

        Returns:
            The jobs.

        Raises:
            QueueFull: The queue would be longer than it may be.
        """
        ids = [secrets.token_hex(8) for _ in several]
        with self._transaction() as db:
            (waiting,) = db.execute("SELECT COUNT(*) FROM jobs WHERE state = 'queued'").fetchone()
            if waiting + len(ids) > self.longest:
                raise QueueFull(
                    "queue", waiting, f"has no space for {len(ids)} more, of at most {self.longest}: try again later"
                )
            now = time.time()
            for name, words in zip(ids, several):
                row = (name, client, json.dumps(list(words)), "queued", now, sweep)
                db.execute("INSERT INTO jobs (id, client, words, state, created, sweep) VALUES (?, ?, ?, ?, ?, ?)", row)
            return [_job(db.execute("SELECT * FROM jobs WHERE id = ?", (name,)).fetchone()) for name in ids]

    def claim(self, worker: int) -> QueuedJob | None:
        """Take the next job, of the client whose last turn is longest ago.

        Args:
            worker: Number of the worker.

        Returns:
            The job, which is running now; None if none waits.
        """
        with self._transaction() as db:
            row = db.execute(_NEXT).fetchone()
            if row is None:
                return None
            changes = (
                "state = 'running', started = ?, worker = ?, attempts = attempts + 1, step = 0, total = 0, cancel = 0"
            )
            db.execute(f"UPDATE jobs SET {changes} WHERE id = ?", (time.time(), worker, row["id"]))
            turn = "(SELECT COALESCE(MAX(turn), 0) + 1 FROM clients)"
            db.execute(f"INSERT OR REPLACE INTO clients (name, turn) VALUES (?, {turn})", (row["client"],))
            return _job(db.execute("SELECT * FROM jobs WHERE id = ?", (row["id"],)).fetchone())

    def progress(self, name: str, step: int, total: int, previews: int) -> bool:
        """Note how far a running job is.

        Args:
            name: Its id.
            step: Steps that are done.
            total: Steps in all.
            previews: Number of previews that were written.

        Returns:
            Whether it is to stop.
        """
        with self._transaction() as db:
            db.execute("UPDATE jobs SET step = ?, total = ?, previews = ? WHERE id = ?", (step, total, previews, name))
            return bool(db.execute("SELECT cancel FROM jobs WHERE id = ?", (name,)).fetchone()["cancel"])

    def finish(
        self,
        name: str,
        state: str,
        files: Sequence[str] = (),
        error: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Sequence[float | None]] | None = None,
    ) -> None:
        """End a running job.

        Args:
            name: Its id.
            state: A final state.
            files: Names of its files.
            error: Why it failed.
            metrics: What was measured of its images.
        """
        texts = (json.dumps(list(files)), error and json.dumps(error, default=str), json.dumps(metrics or {}))
        changes = "state = ?, ended = ?, files = ?, error = ?, metrics = ?"
        with self._transaction() as db:
            query = f"UPDATE jobs SET {changes} WHERE id = ? AND state = 'running'"
            db.execute(query, (state, time.time(), *texts, name))

    def release(self, name: str, end: ProcessEnd | None) -> None:
        """Let a running job wait again whose worker has ended. One that ends its worker again and again has failed.

        Args:
            name: Its id.
            end: How the worker ended; None if nobody saw it, as after the end of the server, or if the worker lives.
        """
        with self._transaction() as db:
            row = db.execute("SELECT * FROM jobs WHERE id = ? AND state = 'running'", (name,)).fetchone()
            if row is None:
                return
            crashes = row["crashes"] + (end is not None and end.by_itself)
            kills = row["kills"] + (end is not None and not end.by_itself)
            state, error = ("cancelled" if row["cancel"] else "queued"), None
            if state == "queued" and end is not None and (crashes >= MAX_CRASHES or kills >= MAX_KILLS):
                state, error = "failed", json.dumps(_ended_error(end, crashes, kills))
            ended = None if state == "queued" else time.time()
            changes = "state = ?, crashes = ?, kills = ?, error = ?, ended = ?"
            db.execute(f"UPDATE jobs SET {changes} WHERE id = ?", (state, crashes, kills, error, ended, name))

    def cancel(self, name: str) -> QueuedJob:
        """Cancel a job that waits, or ask for the end of one that runs.

        Args:
            name: Its id.

        Returns:
            The job.

        Raises:
            ComposerError: It has ended, or there is no such job.
        """
        with self._transaction() as db:
            db.execute(
                "UPDATE jobs SET state = 'cancelled', ended = ? WHERE id = ? AND state = 'queued'", (time.time(), name)
            )
            db.execute("UPDATE jobs SET cancel = 1 WHERE id = ? AND state = 'running'", (name,))
            job = _job(db.execute("SELECT * FROM jobs WHERE id = ?", (name,)).fetchone())
        if job.state in ("done", "failed"):
            raise ComposerError("job", name, f"is {job.state}, and can't be cancelled any more")
        return job

    def retry(self, name: str) -> QueuedJob:
        """Let a job that failed or was cancelled wait again.

        Args:
            name: Its id.

        Returns:
            The job.

        Raises:
            ComposerError: It is in another state, or there is no such job.
        """
        with self._transaction() as db:
            changes = (
                "state = 'queued', attempts = 0, crashes = 0, kills = 0, error = NULL, ended = NULL, started = NULL, "
                "cancel = 0"
            )
            changed = db.execute(
                f"UPDATE jobs SET {changes} WHERE id = ? AND state IN ('failed', 'cancelled')", (name,)
            )
            job = _job(db.execute("SELECT * FROM jobs WHERE id = ?", (name,)).fetchone())
        if not changed.rowcount:
            raise ComposerError("job", name, f"is {job.state}: only jobs that failed or were cancelled are run again")
        return job

    def mark(self, name: str, favourite: bool) -> QueuedJob:
        """Mark a job as a favourite, or not.

        Args:
            name: Its id.
            favourite: Whether it is one.

        Returns:
            The job.

        Raises:
            ComposerError: There is no such job.
        """
        with self._transaction() as db:
            db.execute("UPDATE jobs SET favourite = ? WHERE id = ?", (int(favourite), name))
            return _job(db.execute("SELECT * FROM jobs WHERE id = ?", (name,)).fetchone())

    def forget_files(self, name: str) -> None:
        """Note that the files of a job are gone. A folder that the queue does not know is no job's.

        Args:
            name: Its id.

        Raises:
            ComposerError: It has not ended, or is a favourite.
        """
        with self._transaction() as db:
            row = db.execute("SELECT * FROM jobs WHERE id = ?", (name,)).fetchone()
            if row is not None and (row["state"] not in FINAL or row["favourite"]):
                raise ComposerError("job", name, "is a favourite" if row["favourite"] else f"is {row['state']}")
            db.execute("UPDATE jobs SET files = '[]' WHERE id = ?", (name,))

    def get(self, name: str) -> QueuedJob | None:
        """Look a job up.

        Args:
            name: Its id.
        """
        with self._transaction(writes=False) as db:
            row = db.execute("SELECT * FROM jobs WHERE id = ?", (name,)).fetchone()
        return None if row is None else _job(row)

    def jobs(
        self,
        states: Sequence[str] = (),
        before: int | None = None,
        most: int = 100,
        *,
        contains: str | None = None,
        favourite: bool = False,
        sweep: str | None = None,
    ) -> list[QueuedJob]:
        """List jobs, the newest first.

        Args:
            states: Only those in one of these states; all without any.
            before: Only those with a smaller number, for the next page.
            most: How many at most.
            contains: Only those whose overrides contain this text, in capitals or not.
            favourite: Only favourites.
            sweep: Only those of this sweep.
        """
        conditions: list[tuple[str, Sequence[Any]]] = [
            (f"state IN ({', '.join('?' * len(states))})", states),
            ("number < ?", [] if before is None else [before]),
            ("instr(lower(words), lower(?))", [] if contains is None else [json.dumps(contains)[1:-1]]),
            ("favourite = ?", [1] if favourite else []),
            ("sweep = ?", [] if sweep is None else [sweep]),
        ]
        chosen = [(text, values) for text, values in conditions if values]
        where = " AND ".join(text for text, _ in chosen) or "1"
        values = [value for _, given in chosen for value in given]
        with self._transaction(writes=False) as db:
            query = f"SELECT * FROM jobs WHERE {where} ORDER BY number DESC LIMIT ?"  # texts of ours; values are bound
            return [_job(row) for row in db.execute(query, (*values, most))]

    def running(self) -> list[QueuedJob]:
        """List the jobs that a worker has claimed."""
        return self.jobs(["running"], most=100_000)

    def counts(self) -> dict[str, int]:
        """Count the jobs in each state."""
        with self._transaction(writes=False) as db:
            rows = db.execute("SELECT state, COUNT(*) AS jobs FROM jobs GROUP BY state").fetchall()
        return dict.fromkeys(STATES, 0) | {row["state"]: row["jobs"] for row in rows}


def _ended_error(end: ProcessEnd, crashes: int, kills: int) -> dict[str, Any]:
    """Why a job failed that ended its worker too often."""
    reason = f"ended its worker process {crashes} times, the last time by {end.reason}"
    if crashes < MAX_CRASHES:
        reason = f"its worker process was killed {kills} times while it ran, the last time by {end.reason}"
    return {"message": f"job: {reason}", "key": "job", "value": None, "reason": reason, "allowed": []}


def _job(row: sqlite3.Row | None) -> QueuedJob:
    if row is None:
        raise ComposerError("job", None, "there is no such job")
    values = dict(row)
    values["words"], values["files"] = tuple(json.loads(values["words"])), tuple(json.loads(values["files"]))
    values["metrics"] = json.loads(values["metrics"])
    values["error"] = values["error"] and json.loads(values["error"])
    return QueuedJob(**values)
