"""Expansion of `~` in paths, which shells leave unexpanded after a `=`."""

from __future__ import annotations

import os
from pathlib import Path


def expand_user(name: str | Path) -> Path:
    """Expand `~` or `~user` at the start of a path.

    Args:
        name: The path as it was typed.

    Returns:
        The path; unchanged if no such user exists.
    """
    return Path(os.path.expanduser(name))
