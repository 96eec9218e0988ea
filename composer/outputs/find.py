"""Find what composer has generated below a folder: runs, sweeps and jobs of the service."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from composer.errors import ComposerError
from composer.sweeps.journal import RECORD_FILE, REQUEST_FILE

#: How deep folders are looked into.
DEEPEST = 6
#: Parent of the jobs of a service, and what shows that it is one.
JOBS, QUEUE = "jobs", "queue.db"
KINDS = ("run", "job", "sweep")


@dataclass(frozen=True)
class Output:
    """A folder that composer has written.

    Attributes:
        path: The folder.
        kind: `run`, `job` (of the service) or `sweep`.
        bytes: Size of all files in it.
        files: Number of all files in it.
        written: Time at which its record was written, in seconds since 1970.
    """

    path: Path
    kind: str
    bytes: int
    files: int
    written: float

    @property
    def days(self) -> float:
        """Its age in days."""
        return (time.time() - self.written) / 86400


def find_outputs(root: Path) -> list[Output]:
    """Find runs, jobs and sweeps.

    Args:
        root: A folder with outputs, or one of them. Symbolic links are not followed.

    Returns:
        They, the newest first.

    Raises:
        ComposerError: There is no such folder.
    """
    if not root.is_dir() or root.is_symlink():
        raise ComposerError("outputs", str(root), "there is no such folder")
    return sorted(_below(root, DEEPEST), key=lambda one: -one.written)


def _below(folder: Path, deep: int) -> Iterator[Output]:
    if (folder / REQUEST_FILE).is_file():
        yield _output(folder, "sweep", folder / REQUEST_FILE)
    elif is_record(folder / RECORD_FILE):
        is_job = folder.parent.name == JOBS and (folder.parent.parent / QUEUE).is_file()
        yield _output(folder, "job" if is_job else "run", folder / RECORD_FILE)
    elif deep and os.access(folder, os.R_OK | os.X_OK):
        with os.scandir(folder) as entries:
            inside = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        for path in inside:
            yield from _below(path, deep - 1)


def is_record(path: Path) -> bool:
    """Test whether a file is the record of a run.

    Args:
        path: The file, which may not exist.
    """
    if not path.is_file() or path.is_symlink():
        return False
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and {"composer", "config", "images"} <= record.keys()


def _output(folder: Path, kind: str, record: Path) -> Output:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    size = sum(path.stat().st_size for path in files)
    return Output(folder, kind, size, len(files), record.stat().st_mtime)
