"""Removal of outputs: what is too old, or beyond a number. Only files that composer wrote go; others stay, and are
counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from composer.errors import ComposerError
from composer.outputs.find import KINDS, Output
from composer.server.queue import JobQueue
from composer.sweeps.cleanup import DAY, clean
from composer.sweeps.journal import RECORD_FILE
from composer.system.files import exclusive_lock

_AGE = re.compile(r"(\d{1,5})(h|d|w)")
HOURS = {"h": 1, "d": 24, "w": 24 * 7}
#: Seconds that a file's time may be before the start or after the record of its run: clocks of file systems are coarse.
MARGIN = 2.0


def hours_of(key: str, value: str) -> int:
    """Read an age.

    Args:
        key: Key for the error.
        value: Such as `30d`, `12h` or `4w`.

    Returns:
        Hours.

    Raises:
        ComposerError: It is no age.
    """
    match = _AGE.fullmatch(value)
    if match is None:
        raise ComposerError(key, value, "must be hours, days or weeks: 12h, 30d or 4w")
    return int(match[1]) * HOURS[match[2]]


def selected(
    outputs: Sequence[Output], older_than: int | None, keep: int | None, kinds: Sequence[str]
) -> list[Output]:  # fmt: skip
    """Select the outputs that are to go.

    Args:
        outputs: All, the newest first.
        older_than: Hours; younger ones stay. None for any age.
        keep: How many of the newest stay whatever their age. None for none.
        kinds: Kinds that may go.

    Returns:
        Those that may go by all of these.
    """
    known = [one for one in outputs if one.kind in kinds]
    return [one for one in known[keep or 0 :] if older_than is None or one.days * 24 >= older_than]


def check_kinds(key: str, value: str) -> tuple[str, ...]:
    """Read kinds of outputs, separated by commas.

    Args:
        key: Key for the error.
        value: The value.

    Returns:
        The kinds.

    Raises:
        ComposerError: One is not known.
    """
    kinds = tuple(kind for kind in value.split(",") if kind)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ComposerError(key, unknown[0], "is no kind of output", KINDS)
    return kinds


def remove(output: Output) -> int:
    """Remove the files of an output that composer wrote, and folders that are empty then.

    Args:
        output: A run, job or sweep.

    Returns:
        Number of other files, which stay.

    Raises:
        Busy: A process works in the folder.
        ComposerError: The service has marked the job as a favourite, or has not ended it.
    """
    if output.kind == "sweep":
        clean([str(output.path), "dry_run=false"])
        return sum(path.is_file() for path in output.path.rglob("*"))
    if output.kind == "job":
        JobQueue(output.path.parent.parent).forget_files(output.path.name)
    with exclusive_lock(output.path):
        others = _remove_files(output.path)
    for folder in sorted((path for path in output.path.rglob("*") if path.is_dir()), reverse=True):
        _remove_empty(folder)
    if _remove_empty(output.path) and output.kind == "run" and DAY.fullmatch(output.path.parent.name):
        _remove_empty(output.path.parent)
    return others


def _remove_files(folder: Path) -> int:
    """Remove what a run has written while it ran, its record last; returns how many other files there are."""
    record = folder / RECORD_FILE
    end = record.stat().st_mtime
    began = end - float(json.loads(record.read_text("utf-8")).get("seconds") or 0)
    others = 0
    for path in folder.rglob("*"):
        if path == record or (path.is_dir() and not path.is_symlink()):
            continue
        if path.is_file() and not path.is_symlink() and began - MARGIN <= path.stat().st_mtime <= end + MARGIN:
            path.unlink()
        else:
            others += 1
    record.unlink()
    return others


def _remove_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False  # other files remain in it
    return True
