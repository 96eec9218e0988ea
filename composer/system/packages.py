"""Installed packages, as files on the path of Python."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def installed_packages() -> set[tuple[str, float | None]]:
    """List the records of installed packages; installing rewrites a package's record.

    Returns:
        Path and modification time of each record.
    """
    records: set[str] = set()
    for directory in (entry or os.curdir for entry in sys.path):
        if Path(directory).is_dir():
            records |= {
                entry.path
                for entry in os.scandir(directory)
                if entry.name.endswith((".dist-info", ".egg-info", ".pth"))
            }
    return {(path, written(path)) for path in records}


def written(file: str) -> float | None:
    """Return the modification time of a file.

    Args:
        file: Its path.

    Returns:
        Seconds since 1970; None if there is no such file.
    """
    try:
        return os.stat(file).st_mtime
    except OSError:
        return None
