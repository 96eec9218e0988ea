"""`~` in a path that was typed, which shells leave alone after a `=`."""

from __future__ import annotations

import os
from pathlib import Path


def expanded(name: str | Path) -> Path:
    """A path with `~` or `~user` expanded; of nobody's home it stays as it is, which is then not found."""
    return Path(os.path.expanduser(name))
