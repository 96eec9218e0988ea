"""Record of a sweep's progress in its folder: finished jobs, batches and failures.

A job is done if its run.json is complete and the files that it names have the recorded SHA-256; nothing else counts.
The journal adds the ids of jobs, the batches that they ran in, and failures. The tests follow
https://www.sqlite.org/testing.html.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from composer.errors import ComposerError, shorten
from composer.records.own_files import remove_own_files
from composer.sweeps.brief import brief
from composer.sweeps.lock import defer_sigint
from composer.system.files import TMP_PREFIX, write_files

#: Overrides of Hydra that sweep.json may hold; others choose where files go and which code runs.
ALLOWED_HYDRA_OVERRIDES = ("hydra/sweeper=optuna",)
#: Never read from sweep.json, since pickles can run code.
ALLOW_PICKLE = "model.allow_pickle"
RECORD_FILE, LOG_FILE, REQUEST_FILE = "run.json", "journal.jsonl", "sweep.json"


@dataclass
class Journal:
    """State of a sweep's jobs, by their id.

    Attributes:
        folder: Folder of the sweep.
        done: Subfolder of each finished job.
        briefs: The parts of each finished job's record that pages show; see `brief`.
        batches: Ids of the last batch that a job was in.
        failed: Reason of the last failure, by id, or by key for jobs whose id could not be computed.
        running: Ids of jobs that have started and not ended.
        ids: Id of each requested job, by its key.
        unsaved_ids: The part of ``ids`` that is not on the disk yet.
        subfolders: Subfolders of finished jobs.
    """

    folder: Path
    done: dict[str, str] = field(default_factory=dict)
    briefs: dict[str, dict[str, Any]] = field(default_factory=dict)
    batches: dict[str, tuple[str, ...]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    ids: dict[str, str] = field(default_factory=dict)
    unsaved_ids: dict[str, str] = field(default_factory=dict)
    subfolders: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, folder: Path) -> Journal:
        """Read the state that earlier processes left.

        Args:
            folder: Folder of the sweep; it must exist.

        Returns:
            The journal. Damaged records and lines are ignored.
        """
        journal = cls(folder)
        for entry in read_log(folder):
            journal._replay(entry)
        for path in sorted(folder.iterdir()):
            record = read_finished_record(path) if path.is_dir() else {}
            if record:
                journal._mark_done(record["job"], path.name, record)
        return journal

    def resolve_id(self, job_id: str, former_id: Callable[[], str]) -> str:
        """Choose the id that a job has in this folder.

        Args:
            job_id: Id of the job in the present schema.
            former_id: Computes its id in the former schema; called only in a folder that has jobs.

        Returns:
            ``former_id()`` if the folder knows the job under it, else ``job_id``.
        """
        if job_id in self.done or not (self.done or self.batches):
            return job_id
        former = former_id()
        return former if former in self.done or former in self.batches else job_id

    def _replay(self, entry: Mapping[str, Any]) -> None:
        """Apply one line of the log."""
        if "run" in entry:
            self.running.clear()
        for key, job_id in entry.get("settled", {}).items():
            self.ids[key] = job_id
            self.failed.pop(key, None)
        if "batch" in entry:
            self.batches.update(dict.fromkeys(entry["batch"], tuple(entry["batch"])))
            self.running.update(entry["batch"])
        elif entry.get("state") == "failed":
            self.failed[entry["job"]] = entry.get("reason", "")
            self.running.discard(entry["job"])

    def _mark_done(self, job_id: str, subfolder: str, record: Mapping[str, Any]) -> None:
        self.done[job_id], self.briefs[job_id] = subfolder, brief(record)
        self.subfolders.add(subfolder)
        self.failed.pop(job_id, None)
        self.running.discard(job_id)
        key = (record.get("sweep") or {}).get("key")
        if key is not None:
            self.ids.setdefault(key, job_id)

    def remove_drafts(self) -> None:
        """Remove unfinished files of earlier processes. The caller holds the folder's lock."""
        for pattern in (f"*/*/{TMP_PREFIX}*", f"*/{TMP_PREFIX}*", f"{TMP_PREFIX}*"):
            for draft in self.folder.glob(pattern):
                draft.unlink(missing_ok=True)

    def append(self, wait: bool = True, **entry: Any) -> None:
        """Append a line to the log.

        Args:
            wait: Whether to wait until it is on the disk; otherwise a loss of power may lose it, the process's end not.
            entry: JSON-serialisable fields of the line.
        """
        with open(self.folder / LOG_FILE, "ab+") as file:
            torn = file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n"
            file.write((b"\n" if torn else b"") + _encode_line(entry))
            file.flush()
            if wait:
                os.fsync(file.fileno())

    def start(self, version: str) -> None:
        """Log that a process starts to work; jobs that an earlier one left unfinished are no longer running.

        Args:
            version: Version of composer.
        """
        self.running.clear()
        self.append(run={"composer": version})

    def note_id(self, key: str, job_id: str) -> None:
        """Note the id of a requested job. It is written with the next batch, or by `flush`.

        Args:
            key: Key of the requested job.
            job_id: Its id in this folder.
        """
        self.failed.pop(key, None)
        if self.ids.get(key) != job_id:
            self.ids[key] = self.unsaved_ids[key] = job_id

    def flush(self) -> None:
        """Write the ids that are not on the disk yet."""
        if self.unsaved_ids:
            self.append(settled=self.unsaved_ids)
            self.unsaved_ids = {}

    def begin(self, batch: Sequence[str]) -> None:
        """Log that a batch is about to run.

        The members are logged because pixels may differ by one grey level between batches of different members. They
        are on the disk before the first image is; a job that runs alone is known by its own record.

        Args:
            batch: Ids of the jobs, in the order of their images.
        """
        self.batches.update(dict.fromkeys(batch, tuple(batch)))
        self.running.update(batch)
        ids = {"settled": self.unsaved_ids} if self.unsaved_ids else {}
        self.append(wait=len(batch) > 1, batch=list(batch), **ids)
        self.unsaved_ids = {}

    def requeue(self, job_id: str) -> None:
        """Forget the batch of a job that will run again.

        Args:
            job_id: Id of the job.
        """
        self.batches.pop(job_id, None)
        self.running.discard(job_id)

    def commit(self, job_id: str, subfolder: str, files: Mapping[str, bytes], record: Mapping[str, Any]) -> None:
        """Write a job's files, and last the record that makes the job count as done. Ctrl-C waits until then.

        Args:
            job_id: Id of the job.
            subfolder: Name of its folder in the sweep's folder.
            files: Content of each file by name.
            record: Record of the run.

        Raises:
            OSError: A file cannot be written.
        """
        path = self.folder / subfolder
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        complete = {**record, "job": job_id, "files": hashes}
        encoded = json.dumps(complete, indent=1, ensure_ascii=False).encode()
        with defer_sigint():
            write_files(path, {**files, RECORD_FILE: encoded})
        self._mark_done(job_id, subfolder, complete)

    def fail(self, job_id: str, reason: str, **details: Any) -> None:
        """Log a failure.

        Args:
            job_id: Id of the job, or its key if the id could not be computed.
            reason: The error in one line.
            details: More fields of the line.
        """
        self.failed[job_id] = reason
        self.running.discard(job_id)
        self.append(job=job_id, state="failed", reason=reason, **details)

    def new_subfolder(self, number: int) -> str:
        """Choose the subfolder of a new job.

        Args:
            number: Number of the job.

        Returns:
            The number as four digits, or the next higher one that is free.
        """
        while f"{number:04d}" in self.subfolders:
            number += 1
        return f"{number:04d}"


def _encode_line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, ensure_ascii=False).encode() + b"\n"


def read_log(folder: Path) -> Iterator[dict[str, Any]]:
    """Read the journal's log.

    Args:
        folder: Folder of the sweep.

    Yields:
        Lines as mappings. Damaged lines, such as the last one before a power cut, are skipped.
    """
    try:
        lines = (folder / LOG_FILE).read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def finished_job_id(path: Path) -> str | None:
    """Return the id of the job that is done in a folder.

    Args:
        path: Folder of one job.

    Returns:
        The id, or ``None`` if a file is missing or differs from the record.
    """
    return read_finished_record(path).get("job")


def read_finished_record(path: Path) -> dict[str, Any]:
    """Read the record of the job that is done in a folder, and verify its files.

    Args:
        path: Folder of one job.

    Returns:
        The record; empty if a file is missing or differs from the record.
    """
    record = read_record(path)
    if not isinstance(record.get("job"), str) or not isinstance(record.get("files"), dict):
        return {}
    for name, expected in record["files"].items():
        try:
            actual = hashlib.sha256((path / Path(name)).read_bytes()).hexdigest()
        except OSError:
            return {}
        if actual != expected:
            return {}
    return record


def read_record(path: Path) -> dict[str, Any]:
    """Read a job's run.json without verifying its files.

    Args:
        path: Folder of one job.

    Returns:
        The record; empty if there is none or it is damaged.
    """
    try:
        record = json.loads((path / RECORD_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def clear_folder(folder: Path) -> None:
    """Remove the files that a sweep wrote, and no others.

    Args:
        folder: Folder of the sweep.
    """
    for path in list(folder.iterdir()):
        if path.is_dir() and not path.is_symlink() and (path / RECORD_FILE).exists():
            remove_own_files(path, read_record(path))
    for name in (LOG_FILE, REQUEST_FILE, "index.html", "contact.png", "results.csv"):
        (folder / name).unlink(missing_ok=True)


def read_request(folder: Path) -> dict[str, Any]:
    """Read the last request of a sweep's folder, sweep.json.

    Args:
        folder: Folder of the sweep.

    Returns:
        The request as plain data; its ``"overrides"`` are a list of texts.

    Raises:
        ComposerError: The folder is no sweep's folder, or the file holds overrides that only a user may type.
    """
    try:
        request = json.loads((folder / REQUEST_FILE).read_bytes())
    except (OSError, ValueError):
        request = None
    words = request.get("overrides") if isinstance(request, dict) else None
    if not isinstance(request, dict) or not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ComposerError("sweep", folder, f"is no sweep's folder: it holds no {REQUEST_FILE}")
    for override in (*words, *request.get("manner", ())):
        is_reserved = str(override).lstrip("+~").startswith(("hydra", ALLOW_PICKLE))
        if is_reserved and override not in ALLOWED_HYDRA_OVERRIDES:
            reason = f"its {REQUEST_FILE} sets {shorten(override)}, which a file must not set"
            raise ComposerError("sweep", folder, reason)
    return request
