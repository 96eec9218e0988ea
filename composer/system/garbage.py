"""Rare garbage collection while libraries are imported and weights are loaded.

The imports make a million objects that stay, and each collection walks through all of them: a sixth of the time before
the first step. The command line pauses the collection; the first pipeline resumes it.
"""

from __future__ import annotations

import gc

#: Objects that are made before a collection of each generation, while paused: memory stays bounded if nothing resumes.
RARE = (200_000, 50, 50)

_usual: list[tuple[int, int, int]] = []


def pause() -> None:
    """Collect rarely from now on. Only for a process that composer owns."""
    if not _usual:
        _usual.append(gc.get_threshold())
        gc.set_threshold(*RARE)


def resume() -> None:
    """Collect as usual again, without the objects of today; do nothing unless paused."""
    if _usual:
        gc.freeze()
        gc.set_threshold(*_usual.pop())
