"""Removal of outputs: what is too old, or beyond a number. Only files that composer wrote go, which their records name;
others stay, and are counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from composer.errors import ComposerError
from composer.outputs.find import KINDS, Output
from composer.records.own_files import remove_empty, remove_own_files
from composer.server.queue import JobQueue
from composer.sweeps.cleanup import DAY, clean
from composer.sweeps.journal import read_record
from composer.system.files import exclusive_lock

_AGE = re.compile(r"(\d{1,5})(h|d|w)")
HOURS = {"h": 1, "d": 24, "w": 24 * 7}


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
        others = remove_own_files(output.path, read_record(output.path))
    if not output.path.exists() and output.kind == "run" and DAY.fullmatch(output.path.parent.name):
        remove_empty(output.path.parent)
    return others
