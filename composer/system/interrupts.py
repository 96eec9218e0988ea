"""Detection of Ctrl-C, also where a library turns it into an error of its own or swallows it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_count = 0


@contextmanager
def track_sigint() -> Iterator[None]:
    """Count SIGINT inside the context; `KeyboardInterrupt` is raised as usual.

    Nothing is counted in threads other than the main one, nor where the program ignores SIGINT.
    """
    global _count
    _count = 0
    previous = signal.getsignal(signal.SIGINT)
    if not callable(previous) or threading.current_thread() is not threading.main_thread():
        yield
        return

    def count_and_raise(number: int, frame: FrameType | None) -> None:
        global _count
        try:
            previous(number, frame)
        except KeyboardInterrupt:
            _count += 1
            raise

    signal.signal(signal.SIGINT, count_and_raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        _count = 0  # the next command starts anew


def was_interrupted(error: BaseException | None = None) -> bool:
    """Return whether Ctrl-C was pressed.

    Args:
        error: An error whose causes are searched for `KeyboardInterrupt` too.

    Returns:
        Whether SIGINT was counted or caused the error.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))  # a cause can lead back to its own error
        error = error.__cause__ or error.__context__
    return _count > 0


def raise_if_interrupted(error: BaseException | None = None) -> None:
    """Stop after Ctrl-C, so that an error that it caused is not reported as a failure.

    Args:
        error: As for `was_interrupted`.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    if was_interrupted(error):
        raise KeyboardInterrupt
