"""A sweep's folder is a ledger: every job that was ever asked for in it is one row, in one state.

What was asked for stands in sweep.json, which is written as a whole; what became of it is told by the records of the
jobs and by the
journal. `compose status`, results.csv, --json, the page and resume all read these rows.
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
from composer.sweeps.journal import ASKED, Journal, asked
from composer.sweeps.lock import working
from composer.system.files import write_atomically

#: A job of an earlier request in the same folder.
DROPPED = "no longer asked for"
STATES = ("done", "failed", "invalid", "running", "waiting", DROPPED)


@dataclass(frozen=True)
class Asked:
    """A job as it was asked for. key: a sum over its overrides. reason: why it is invalid, if it is."""

    key: str
    number: int | None
    values: Mapping[str, str]
    prompt: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Row:
    """A job and what became of it. id, place: as far as they are known."""

    number: int | None
    state: str
    values: Mapping[str, str]
    prompt: str | None = None
    reason: str | None = None
    id: str | None = None
    place: str = ""


@dataclass
class Ledger:
    """The rows of one folder.

    Attributes:
        asked: jobs of the present request, in their order.
        former: jobs of earlier requests that the present one does not ask for.
        unlisted: jobs of a folder that an earlier composer, or a search, made: they were counted and not listed. None
        elsewhere.
    """

    journal: Journal
    asked: list[Asked] = field(default_factory=list)
    former: list[Asked] = field(default_factory=list)
    unlisted: int | None = None

    @classmethod
    def read(cls, folder: Path) -> Ledger:
        """From a folder alone.

        Raises:
            ComposerError: it is no sweep's folder.
        """
        about, journal = asked(folder), Journal.read(folder)
        if not working(folder):
            journal.running.clear()
        unlisted = None if "asked" in about else int(about.get("jobs", len(journal.done)))
        return cls(journal, *(_listed(about.get(name)) for name in ("asked", "former")), unlisted)

    def ask(self, jobs: Sequence[Job], invalid: Sequence[tuple[Job, str]], about: Mapping[str, Any]) -> None:
        """Write down a new request. What earlier ones asked for besides is kept.

        Args:
            jobs: those that can work.
            invalid: those that can't, and why.
            about: more that sweep.json holds.
        """
        file = self.journal.folder / ASKED
        before = before_in(file.parent)
        new = [_asked(job, None) for job in jobs] + [_asked(job, reason) for job, reason in invalid]
        self.asked = sorted(new, key=lambda each: each.number)
        keys = {each.key for each in new}
        earlier = [each for name in ("former", "asked") for each in _listed(before.get(name)) if each.key not in keys]
        self.former = list({each.key: each for each in earlier}.values())
        listed = {name: [asdict(each) for each in getattr(self, name)] for name in ("asked", "former")}
        data = json.dumps({**about, "jobs": len(new), **listed}, indent=1, ensure_ascii=False).encode()
        if not file.exists() or file.read_bytes() != data:
            write_atomically(file, data)

    def rows(self) -> list[Row]:
        """Every job that was ever asked for: of the present request, of earlier ones, and images that came to be
        otherwise.
        """
        rows = [self._row(each) for each in self.asked]
        known = {row.id for row in rows if row.id}
        for each in self.former:
            row = self._row(each)
            if row.id not in known:  # else the same job is asked for in other words
                rows.append(Row(None, DROPPED, row.values, row.prompt, None, row.id, row.place))
                known.update({row.id} - {None})
        return [*rows, *self._others(known)]

    def _row(self, each: Asked) -> Row:
        journal, job = self.journal, self.journal.ids.get(each.key)
        about = {"number": each.number, "values": each.values, "prompt": each.prompt}
        if each.reason is not None:
            return Row(state="invalid", reason=each.reason, **about)
        if job in journal.done:
            return Row(state="done", id=job, place=journal.done[job], **about)
        if job in journal.running:
            return Row(state="running", id=job, **about)
        reason = journal.failed.get(job, journal.failed.get(each.key))
        return Row(state="waiting" if reason is None else "failed", id=job, reason=reason, **about)

    def _others(self, known: set[str]) -> Iterator[Row]:
        """Images that no row names; where jobs were not listed, these are the jobs, with those that failed and those
        that wait.
        """
        there = {
            job: place for job, place in sorted(self.journal.done.items(), key=lambda each: each[1]) if job not in known
        }
        for job, place in there.items():
            values = self.journal.briefs[job]["values"]
            yield Row(None, "done" if self.unlisted is not None else DROPPED, values, None, None, job, place)
        if self.unlisted is not None:
            yield from (Row(None, "failed", {}, None, reason, job) for job, reason in self.journal.failed.items())
            left = self.unlisted - len(there) - len(self.journal.failed)
            yield from (Row(None, "waiting", {}) for _ in range(left))


def counted(rows: Sequence[Row]) -> dict[str, int]:
    """State → how many rows are in it."""
    found = Counter(row.state for row in rows)
    return {state: found[state] for state in STATES}


def facts(folder: Path, rows: Sequence[Row], briefs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """All rows and their counts as plain data, for --json."""
    counts = {state.replace(" ", "_"): count for state, count in counted(rows).items()}
    jobs = [
        {
            "number": row.number,
            "state": row.state,
            "reason": row.reason,
            "values": dict(row.values),
            "images": [f"{folder}/{row.place}/{name}" for name in briefs[row.id]["images"]] if row.place else [],
        }
        for row in rows
    ]
    return {"folder": str(folder), "asked": len(rows) - counts["no_longer_asked_for"], **counts, "jobs": jobs}


def _asked(job: Job, reason: str | None) -> Asked:
    typed = next(
        (str(setting.value) for setting in job.settings if setting.key == "prompt" and setting.value is not None), None
    )
    return Asked(job.key, job.number, job.values, typed, reason)


def before_in(folder: Path) -> dict[str, Any]:
    """The last request; empty where there was none, or its file is damaged: the images are still there, and have rows."""
    try:
        return asked(folder)
    except ComposerError:
        return {}


def _listed(found: Any) -> list[Asked]:
    """Rows of the file, which anybody can have written."""
    texts = (
        [each for each in found if isinstance(each, dict) and isinstance(each.get("values"), dict)]
        if isinstance(found, list)
        else []
    )
    names = [field.name for field in fields(Asked)]
    return [Asked(**{name: each.get(name) for name in names}) for each in texts]
