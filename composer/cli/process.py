"""Side effects on a process that composer owns: the command line's, the resident one and the workers of sweeps.

Nothing below `composer.cli` changes loggers, warning filters, the environment, `sys.modules` or signal handlers for
good: a program that calls composer from Python keeps its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from composer.loading.library_indexes import keep_indexes
from composer.system import interrupts, library_logs, loading_line
from composer.system.deferred import defer_imports

#: Whether this process runs one command line after the other, and keeps what several of them need.
_resident = False


def set_resident() -> None:
    """Say that this process runs one command line after the other."""
    global _resident
    _resident = True


def is_resident() -> bool:
    """Whether this process runs one command line after the other."""
    return _resident


def configure_process(verbose: bool) -> None:
    """Set log levels, warnings and lazy imports of a process that composer owns.

    Call it before torch, diffusers or transformers are imported. Calling it again is harmless. Signal handling belongs
    to `owned_process`, since it has to be undone where `main` is called from Python.

    Args:
        verbose: Whether the libraries' logs, warnings and advice are shown, each line with the run's name.
    """
    if verbose:
        library_logs.enable_library_logs()
    else:
        library_logs.silence_libraries()
    defer_imports()
    keep_indexes()


@contextmanager
def owned_process() -> Iterator[None]:
    """Own the process for one command: track Ctrl-C, and give logs and the terminal back to the caller afterwards.

    Yields:
        Nothing; the command runs inside.
    """
    with interrupts.track_sigint():
        try:
            yield
        finally:
            loading_line.stop()
            library_logs.release_process()
