"""Errors of a disk without space, of files and of the database: what they hit waits, and does not fail."""

from __future__ import annotations

import errno
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from composer.server.logs import note

#: Errors of a disk, a quota or a limit without space, as numbers and as SQLite says them, which has no others for them.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FULL_TEXTS = ("database or disk is full", "disk i/o error", "unable to open database file")
#: Seconds until the next attempt to write to the database.
AGAIN_SECONDS = 1.0

Value = TypeVar("Value")


def is_disk_full(error: BaseException | None) -> bool:
    """Test whether an error comes from a disk without space, however it was raised again.

    Args:
        error: The error; None is none.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        if isinstance(error, sqlite3.OperationalError) and str(error).lower().startswith(FULL_TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False


def until_written(change: Callable[[], Value]) -> Value:
    """Write to the database, again and again while its disk is full or others write to it.

    Args:
        change: Writes to it.

    Returns:
        What it returns.

    Raises:
        sqlite3.OperationalError: It cannot be written for another reason.
    """
    while True:
        try:
            return change()
        except sqlite3.OperationalError as error:
            if not is_disk_full(error) and "locked" not in str(error):
                raise
            note("database waits", reason=str(error))
            time.sleep(AGAIN_SECONDS)
