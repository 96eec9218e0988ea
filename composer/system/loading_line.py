"""A line on the terminal while libraries and models load."""

from __future__ import annotations

import sys
import threading

from composer.system import console

#: Time that a command may take before the line is printed, in seconds.
DELAY_SECONDS = 2.0
_timer: threading.Timer | None = None


def start() -> None:
    """Print the line if the command prints nothing else within `DELAY_SECONDS`.

    Nothing is printed with `--quiet`, nor where stderr is no terminal.
    """
    global _timer
    stop()
    if not console.output_mode.quiet and sys.stderr.isatty():
        _timer = threading.Timer(DELAY_SECONDS, _print_line)
        _timer.daemon = True
        _timer.start()


def stop() -> None:
    """Print no line any more: something else is shown, or the command is done."""
    global _timer
    if _timer is not None:
        _timer.cancel()
    _timer = None


def _print_line() -> None:
    print("compose: loading libraries and models …", file=sys.stderr, flush=True)
