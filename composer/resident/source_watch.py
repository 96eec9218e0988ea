"""Detects whether the files that a long-lived process runs have changed since it read them."""

from __future__ import annotations

import os
import sys
from pathlib import Path


class Changes:
    """Modification times of all imported modules and installed packages."""

    def __init__(self) -> None:
        self.files: dict[str, float | None] = {}
        self.packages = _packages()
        self.look(float("inf"))

    def look(self, since: float) -> None:
        """Record modules that were imported meanwhile.

        Args:
            since: Unix time. A file written later may be newer than the imported module, and counts as changed.
        """
        for file in {file for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}:
            if file not in self.files:
                written = _written(file)
                self.files[file] = None if written is None or written > since else written

    def detected(self) -> bool:
        """Test whether any file or package has changed.

        Returns:
            Whether one has.
        """
        return _packages() != self.packages or any(_written(file) != written for file, written in self.files.items())


def _written(file: str) -> float | None:
    try:
        return os.stat(file).st_mtime
    except OSError:
        return None


def _packages() -> set[tuple[str, float | None]]:
    """Installed packages with their modification times: installing rewrites a package's record."""
    records: set[str] = set()
    for directory in sys.path:
        if Path(directory).is_dir():
            records |= {
                entry.path
                for entry in os.scandir(directory)
                if entry.name.endswith((".dist-info", ".egg-info", ".pth"))
            }
    return {(path, _written(path)) for path in records}
