"""One request at a time loads weights and generates; other threads wait their turn.

torch, diffusers and transformers keep for a whole process what a run depends on: the global generator that a run seeds,
the default
dtype and the initialisation that loading a model switches, hooks and settings that options put on shared models. Two
runs at once would
find each other's. Composing a config, and saving what was made, wait for nobody's run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_turn = RLock()  # a callback may start a run of its own within a run


def in_turn(function: Callable[P, T]) -> Callable[P, T]:
    """Call it only while no other thread is in a function marked so; such functions may call each other."""

    @wraps(function)
    def waiting(*args: P.args, **keywords: P.kwargs) -> T:
        with _turn:
            return function(*args, **keywords)

    return waiting
