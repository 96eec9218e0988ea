"""A sweep's folder: who works in it, what is done, and what was tried. https://www.sqlite.org/testing.html is the model for its tests.

A job is done when its run.json is there, whole, and the pictures beside it have the sums that it names; that alone is trusted.
The journal tells the rest: which jobs ran in one batch, and what failed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from composer.errors import Busy, ComposerError, shorten
from composer.files import DRAFT, write

#: All of Hydra's own settings that a sweep's file may hold; others say where files go and what is run.
OWN = ("hydra/sweeper=optuna",)
#: What counts only as typed, since pickles can run code.
PICKLES = "model.allow_pickle"
RECORD, LOG, LOCK, ASKED = "run.json", "journal.jsonl", ".lock", "sweep.json"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out. The kernel frees the lock, whatever becomes of this one.

    Raises:
        Busy: another process has it; its number is told.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "a+") as file:
        if not _taken(file):
            file.seek(0)
            reason = f"process {file.read().strip() or '(unknown)'} is working in it: wait for that, or give this sweep another name"
            raise Busy("sweep", folder, reason)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
        file.truncate(0)


@contextmanager
def unhurried() -> Iterator[None]:
    """Let a first Ctrl-C wait until the end of the block; a second one does not."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[Any] = []

    def later(*signal_and_frame: Any) -> None:
        came.append(signal_and_frame)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, later)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came and callable(before):
            before(*came[0])


def _taken(file: Any) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            return True
        except OSError:
            return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


@dataclass
class Journal:
    """What is known of a sweep's jobs, by their id.

    done: id → folder of the job. batches: id → ids of the last batch that it was in. failed: id → reason of the last failure.
    """

    folder: Path
    done: dict[str, str] = field(default_factory=dict)
    batches: dict[str, tuple[str, ...]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Journal:
        """All that is left of earlier processes."""
        journal = cls(folder)
        for entry in entries(folder):
            if "batch" in entry:
                journal.batches.update(dict.fromkeys(entry["batch"], tuple(entry["batch"])))
            elif entry.get("state") == "failed":
                journal.failed[entry["job"]] = entry.get("reason", "")
        for place in sorted(folder.iterdir()):
            found = completed(place) if place.is_dir() else None
            if found:
                journal.done[found] = place.name
                journal.failed.pop(found, None)
        return journal

    def known(self, job: str, before: Callable[[], str]) -> str:
        """The id that a job has in this folder: the one that an earlier composer gave it, where it was begun by that."""
        if job in self.done or not (self.done or self.batches):
            return job
        old = before()
        return old if old in self.done or old in self.batches else job

    def tidy(self) -> None:
        """Remove what earlier processes only began. Only under the lock: another's drafts are its own."""
        for pattern in (f"*/{DRAFT}*", f"{DRAFT}*"):
            for draft in self.folder.glob(pattern):
                draft.unlink(missing_ok=True)

    def note(self, **entry: Any) -> None:
        """Append a line and wait until it is on the disk."""
        with open(self.folder / LOG, "ab+") as file:
            torn = file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n"
            file.write((b"\n" if torn else b"") + _line_of(entry))
            file.flush()
            os.fsync(file.fileno())

    def begin(self, batch: Sequence[str]) -> None:
        """A batch is about to run. It is noted because pixels may differ by a grey level between batches of other jobs."""
        self.batches.update(dict.fromkeys(batch, tuple(batch)))
        self.note(batch=list(batch))

    def commit(self, job: str, place: str, files: Mapping[str, bytes], record: Mapping[str, Any]) -> None:
        """Write a job's files, and last the record that makes it count; Ctrl-C waits until that is done."""
        where = self.folder / place
        sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        with unhurried():
            for name, data in files.items():
                write(where / name, data)
            write(where / RECORD, json.dumps({**record, "job": job, "files": sums}, indent=1, ensure_ascii=False).encode())
        self.done[job] = place
        self.failed.pop(job, None)

    def fail(self, job: str, reason: str, **more: Any) -> None:
        self.failed[job] = reason
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
    record = record_of(place)
    if not isinstance(record.get("job"), str) or not isinstance(record.get("files"), dict):
        return None
    for name, wanted in record["files"].items():
        try:
            found = hashlib.sha256((place / Path(name)).read_bytes()).hexdigest()
        except OSError:
            return None
        if found != wanted:
            return None
    return record["job"]


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
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.get("overrides", [None])):
        raise ComposerError("sweep", folder, f"is no sweep's folder: it holds no {ASKED}")
    for override in (*found["overrides"], *found.get("manner", ())):
        if str(override).lstrip("+~").startswith(("hydra", PICKLES)) and override not in OWN:
            raise ComposerError("sweep", folder, f"its {ASKED} asks for {shorten(override)}, which is not for a file to choose")
    return found
