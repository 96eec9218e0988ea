"""Whether the files that a long-lived process runs are still those it has read."""

from __future__ import annotations

import os
import sys
from pathlib import Path


class Changes:
    """Remembers the files of all imported modules and the installed packages."""

    def __init__(self) -> None:
        self.files: dict[str, float | None] = {}
        self.packages = _packages()
        self.look(float("inf"))

    def look(self, since: float) -> None:
        """Note modules imported meanwhile. A file written after `since` may be newer than what was read of it: it
        counts as changed.
        """
        for file in {file for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}:
            if file not in self.files:
                written = _written(file)
                self.files[file] = None if written is None or written > since else written

    def found(self) -> bool:
        """Whether anything is other than it was."""
        return _packages() != self.packages or any(_written(file) != written for file, written in self.files.items())


def _written(file: str) -> float | None:
    try:
        return os.stat(file).st_mtime
    except OSError:
        return None


def _packages() -> set[tuple[str, float | None]]:
    """What is installed, with the time of it: a package's record is written anew whenever it changes."""
    found = set()
    for place in sys.path:
        if Path(place).is_dir():
            found |= {
                entry.path for entry in os.scandir(place) if entry.name.endswith((".dist-info", ".egg-info", ".pth"))
            }
    return {(path, _written(path)) for path in found}
