"""Ctrl-C, whatever a library makes of it: amid another's code it may come out as an error of that library's own, or not
at all.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_times = 0


@contextmanager
def track_sigint() -> Iterator[None]:
    """Take a note of each Ctrl-C in here; it is raised as ever."""
    global _times
    _times = 0
    before = signal.getsignal(signal.SIGINT)
    if (
        not callable(before) or threading.current_thread() is not threading.main_thread()
    ):  # ignored, or not ours to hear
        yield
        return

    def heard(*about: Any) -> None:
        global _times
        try:
            before(*about)
        except KeyboardInterrupt:
            _times += 1
            raise

    signal.signal(signal.SIGINT, heard)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _times = 0  # it is no news to whoever calls composer from Python afterwards


def came(error: BaseException | None = None) -> bool:
    """Whether there was one, or it is where an error began."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))  # a cause can lead back to its own error
        error = error.__cause__ or error.__context__
    return _times > 0


def check(error: BaseException | None = None) -> None:
    """Go no further after Ctrl-C, and take no error for a fault of its own that it brought about.

    Raises:
        KeyboardInterrupt
    """
    if came(error):
        raise KeyboardInterrupt
