"""Models of tools: the last ones stay in memory for the next image, the next step and the next run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

Kept = TypeVar("Kept")
#: Most models that stay in memory: a step that follows another one seldom needs more.
MOST = 2
_kept: OrderedDict[Hashable, object] = OrderedDict()


def kept(key: Hashable, load: Callable[[], Kept]) -> Kept:
    """Return a model that is in memory, or load it. The models are shared: nothing may write to them.

    Args:
        key: What identifies it: its files with their states, its dtype and its device.
        load: Loads it.

    Returns:
        The model.
    """
    if key not in _kept:
        while len(_kept) >= MOST:
            _kept.popitem(last=False)
        _kept[key] = load()
    _kept.move_to_end(key)
    return _kept[key]  # type: ignore[return-value]


def clear() -> None:
    """Drop all models from memory."""
    _kept.clear()
