"""A lock for what a process can do only once at a time: load weights and generate.

torch, diffusers and transformers keep global state that a run depends on: the global generator that a run seeds, the
default dtype and the initialisation that loading a model switches, and the hooks and settings that options put on
shared models. Composing a config and saving results need no lock.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_lock = RLock()  # a callback may start a run within a run


def in_turn(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function so that one thread at a time runs it or any other function decorated so.

    Args:
        function: The function. It may call other decorated functions.

    Returns:
        The function with the lock around it.
    """

    @wraps(function)
    def locked(*args: P.args, **keywords: P.kwargs) -> T:
        with _lock:
            return function(*args, **keywords)

    return locked
