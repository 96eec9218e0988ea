"""Who works in a sweep's folder, and a Ctrl-C that waits until what was begun is written."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from composer.config.output_folder import make
from composer.errors import Busy

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out. The kernel frees the lock, whatever becomes of this one.

    Raises:
        Busy: another process has it; its number is told.
        ComposerError: the folder can't be made.
    """
    make(folder)
    with open(folder / LOCK, "a+") as file:
        if not _taken(file):
            file.seek(0)
            reason = f"process {file.read().strip() or '(unknown)'} is working in it: wait for that, or give this sweep another name"
            raise Busy("sweep", folder, reason)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
        file.truncate(0)


@contextmanager
def defer_sigint() -> Iterator[None]:
    """Let a first Ctrl-C wait until the end of the block; a second one does not."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[Any] = []

    def later(*signal_and_frame: Any) -> None:
        came.append(signal_and_frame)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, later)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came and callable(before):
            before(*came[0])


def _taken(file: Any) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            return True
        except OSError:
            return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def working(folder: Path) -> bool:
    """Whether a process works in a folder."""
    try:
        with locked(folder):
            return False
    except Busy:
        return True
