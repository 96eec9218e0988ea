"""A sweep's folder: what is done, and what was tried. https://www.sqlite.org/testing.html is the model for its tests.

A job is done when its run.json is there, whole, and the images beside it have the sums that it names; that alone is
trusted.
The journal tells the rest: which ids jobs came to, which of them ran in one batch, and what failed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from composer.errors import ComposerError, shorten
from composer.sweeps.brief import brief
from composer.sweeps.lock import defer_sigint
from composer.system.files import TMP_PREFIX, write_atomically

#: All of Hydra's own settings that a sweep's file may hold; others say where files go and what is run.
OWN = ("hydra/sweeper=optuna",)
#: What counts only as typed, since pickles can run code.
PICKLES = "model.allow_pickle"
RECORD, LOG, ASKED = "run.json", "journal.jsonl", "sweep.json"


@dataclass
class Journal:
    """What is known of a sweep's jobs, by their id.

    Attributes:
        done: id → folder of the job.
        briefs: id → what a page shows of a record, of jobs that are done.
        batches: id → ids of the last batch that it was in.
        failed: id, or key of a job that could not be settled, → reason of the last failure.
        running: ids that were begun and did not end.
        ids: key of a job as it was asked for → the id that it came to.
    """

    folder: Path
    done: dict[str, str] = field(default_factory=dict)
    briefs: dict[str, dict[str, Any]] = field(default_factory=dict)
    batches: dict[str, tuple[str, ...]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    ids: dict[str, str] = field(default_factory=dict)
    fresh: dict[str, str] = field(default_factory=dict)  # of ids, what is not on the disk yet

    @classmethod
    def read(cls, folder: Path) -> Journal:
        """All that is left of earlier processes."""
        journal = cls(folder)
        for entry in entries(folder):
            journal._replay(entry)
        for place in sorted(folder.iterdir()):
            record = whole(place) if place.is_dir() else {}
            if record:
                journal._finished(record["job"], place.name, record)
        return journal

    def known(self, job: str, before: Callable[[], str]) -> str:
        """The id that a job has in this folder: the one that an earlier composer gave it, where it was begun by that."""
        if job in self.done or not (self.done or self.batches):
            return job
        old = before()
        return old if old in self.done or old in self.batches else job

    def _replay(self, entry: Mapping[str, Any]) -> None:
        """One line of what an earlier process noted."""
        if "run" in entry:
            self.running.clear()
        for key, job in entry.get("settled", {}).items():
            self.ids[key] = job
            self.failed.pop(key, None)
        if "batch" in entry:
            self.batches.update(dict.fromkeys(entry["batch"], tuple(entry["batch"])))
            self.running.update(entry["batch"])
        elif entry.get("state") == "failed":
            self.failed[entry["job"]] = entry.get("reason", "")
            self.running.discard(entry["job"])

    def _finished(self, job: str, place: str, record: Mapping[str, Any]) -> None:
        self.done[job], self.briefs[job] = place, brief(record)
        self.failed.pop(job, None)
        self.running.discard(job)
        key = (record.get("sweep") or {}).get("key")
        if key is not None:
            self.ids.setdefault(key, job)

    def tidy(self) -> None:
        """Remove what earlier processes only began. Only under the lock: another's drafts are its own."""
        for pattern in (f"*/{TMP_PREFIX}*", f"{TMP_PREFIX}*"):
            for draft in self.folder.glob(pattern):
                draft.unlink(missing_ok=True)

    def note(self, **entry: Any) -> None:
        """Append a line and wait until it is on the disk."""
        with open(self.folder / LOG, "ab+") as file:
            torn = file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n"
            file.write((b"\n" if torn else b"") + _line_of(entry))
            file.flush()
            os.fsync(file.fileno())

    def start(self, version: str) -> None:
        """A process begins to work: nothing that an earlier one began is under way any more."""
        self.running.clear()
        self.note(run={"composer": version})

    def settle(self, key: str, job: str) -> None:
        """What was asked for came to an id; it is noted with the next batch, or by `flush`."""
        self.failed.pop(key, None)
        if self.ids.get(key) != job:
            self.ids[key] = self.fresh[key] = job

    def flush(self) -> None:
        """Note what is not on the disk yet."""
        if self.fresh:
            self.note(settled=self.fresh)
            self.fresh = {}

    def begin(self, batch: Sequence[str]) -> None:
        """A batch is about to run. It is noted because pixels may differ by a grey level between batches of other jobs."""
        self.batches.update(dict.fromkeys(batch, tuple(batch)))
        self.running.update(batch)
        self.note(batch=list(batch), **({"settled": self.fresh} if self.fresh else {}))
        self.fresh = {}

    def put_back(self, job: str) -> None:
        """It waits again: its batch came to nothing."""
        self.batches.pop(job, None)
        self.running.discard(job)

    def commit(self, job: str, place: str, files: Mapping[str, bytes], record: Mapping[str, Any]) -> None:
        """Write a job's files, and last the record that makes it count; Ctrl-C waits until that is done."""
        where = self.folder / place
        whole = {
            **record,
            "job": job,
            "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        }
        with defer_sigint():
            for name, data in files.items():
                write_atomically(where / name, data)
            write_atomically(where / RECORD, json.dumps(whole, indent=1, ensure_ascii=False).encode())
        self._finished(job, place, whole)

    def fail(self, job: str, reason: str, **more: Any) -> None:
        """job: the id, or the key of a job that could not be settled."""
        self.failed[job] = reason
        self.running.discard(job)
        self.note(job=job, state="failed", reason=reason, **more)

    def place(self, number: int) -> str:
        """A folder's name for a new job: its number, or the next that is free."""
        taken = set(self.done.values())
        while f"{number:04d}" in taken:
            number += 1
        return f"{number:04d}"


def _line_of(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, ensure_ascii=False).encode() + b"\n"


def entries(folder: Path) -> Iterator[dict[str, Any]]:
    """The journal's lines; a torn one, such as the last before a power cut, is left out."""
    try:
        lines = (folder / LOG).read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def completed(place: Path) -> str | None:
    """The id of the job that is done in a folder, when all of its files are what its record says."""
    return whole(place).get("job")


def whole(place: Path) -> dict[str, Any]:
    """The record of the job that is done in a folder; empty where a file is missing or not what the record says."""
    record = record_of(place)
    if not isinstance(record.get("job"), str) or not isinstance(record.get("files"), dict):
        return {}
    for name, wanted in record["files"].items():
        try:
            found = hashlib.sha256((place / Path(name)).read_bytes()).hexdigest()
        except OSError:
            return {}
        if found != wanted:
            return {}
    return record


def record_of(place: Path) -> dict[str, Any]:
    """A job's run.json, empty where there is none."""
    try:
        record = json.loads((place / RECORD).read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def clear(folder: Path) -> None:
    """Begin anew: remove what a sweep wrote, and nothing else that lies there."""
    for place in folder.iterdir():
        if place.is_dir() and (place / "run.json").exists():
            shutil.rmtree(place)
    for name in (LOG, ASKED, "index.html", "contact.png", "results.csv"):
        (folder / name).unlink(missing_ok=True)


def asked(folder: Path) -> dict[str, Any]:
    """What a sweep's folder was made for.

    Raises:
        ComposerError: it is no sweep's folder.
    """
    try:
        found = json.loads((folder / ASKED).read_bytes())
    except (OSError, ValueError):
        found = None
    words = found.get("overrides") if isinstance(found, dict) else None
    if not isinstance(words, list) or not all(isinstance(each, str) for each in words):
        raise ComposerError("sweep", folder, f"is no sweep's folder: it holds no {ASKED}")
    for override in (*found["overrides"], *found.get("manner", ())):
        if str(override).lstrip("+~").startswith(("hydra", PICKLES)) and override not in OWN:
            raise ComposerError(
                "sweep", folder, f"its {ASKED} asks for {shorten(override)}, which is not for a file to choose"
            )
    return found
