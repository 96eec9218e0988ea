"""A line on a terminal while libraries and models load, so that nobody waits before an empty screen."""

from __future__ import annotations

import sys
import threading

from composer.system import console

#: Seconds that a command may take without a word.
AFTER = 2.0
_timer: threading.Timer | None = None


def begin() -> None:
    """A command starts. Scripts, logs and programs that call composer from Python get no such line."""
    global _timer
    over()
    if not console.manner.quiet and sys.stderr.isatty():
        _timer = threading.Timer(AFTER, _say)
        _timer.daemon = True
        _timer.start()


def over() -> None:
    """Something else is shown from now on, or the command is done."""
    global _timer
    if _timer is not None:
        _timer.cancel()
    _timer = None


def _say() -> None:
    print("compose: loading libraries and models …", file=sys.stderr, flush=True)
