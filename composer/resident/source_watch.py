"""Detects whether the files that a long-lived process runs have changed since it read them."""

from __future__ import annotations

import sys

from composer.system.packages import installed_packages, written


class Changes:
    """Modification times of all imported modules and installed packages."""

    def __init__(self) -> None:
        self.files: dict[str, float | None] = {}
        self.packages = installed_packages()
        self.look(float("inf"))

    def look(self, since: float) -> None:
        """Record modules that were imported meanwhile.

        Args:
            since: Unix time. A file written later may be newer than the imported module, and counts as changed.
        """
        for file in {file for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}:
            if file not in self.files:
                changed = written(file)
                self.files[file] = None if changed is None or changed > since else changed

    def detected(self) -> bool:
        """Test whether any file or package has changed.

        Returns:
            Whether one has.
        """
        return installed_packages() != self.packages or any(
            written(file) != before for file, before in self.files.items()
        )
