"""The lock of a sweep's folder, and a Ctrl-C that waits until started writes are complete."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from composer.config.output_folder import make
from composer.errors import Busy

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder. The kernel releases it when the process ends, however it ends.

    Args:
        folder: Folder of a sweep; it is created if needed.

    Raises:
        Busy: Another process holds the lock; the message names its process id.
        ComposerError: The folder cannot be created.
    """
    make(folder)
    with open(folder / LOCK, "a+") as file:
        if not _acquire(file):
            file.seek(0)
            process = file.read().strip() or "(unknown)"
            reason = f"process {process} is working in it: wait for that, or give this sweep another name"
            raise Busy("sweep", folder, reason)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
        file.truncate(0)


@contextmanager
def defer_sigint() -> Iterator[None]:
    """Delay a first Ctrl-C until the end of the block. A second one is handled at once.

    Has no effect outside of the main thread, which alone receives signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    deferred: list[Any] = []

    def defer(*signal_and_frame: Any) -> None:
        deferred.append(signal_and_frame)
        signal.signal(signal.SIGINT, handler)

    handler = signal.signal(signal.SIGINT, defer)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if deferred and callable(handler):
            handler(*deferred[0])


if sys.platform == "win32":

    def _acquire(file: TextIO) -> bool:
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            return True
        except OSError:
            return False

else:

    def _acquire(file: TextIO) -> bool:
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False


def is_locked(folder: Path) -> bool:
    """Test whether a process works in a folder.

    Args:
        folder: Folder of a sweep.

    Returns:
        Whether another process, or another part of this one, holds its lock.
    """
    try:
        with locked(folder):
            return False
    except Busy:
        return True
