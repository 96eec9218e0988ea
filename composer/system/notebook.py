"""Notebook support: images that display themselves, and one line for an interrupted call."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from composer.system import interrupts

if TYPE_CHECKING:
    pass


class Interrupted(KeyboardInterrupt):
    """Interruption of a call by Ctrl-C or a notebook's stop button."""

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows."""
        return ["KeyboardInterrupt: composer was interrupted"]


class Page(str):
    """Text of several lines that notebooks and Python's prompt show as it is, without quotes."""

    def __repr__(self) -> str:
        return str(self)


def get_shell() -> Any:
    """Return IPython's shell, or `None` outside of IPython. IPython is not imported."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_ipython() if get_ipython is not None else None


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `KeyboardInterrupt` after Ctrl-C in a call from Python, whatever a library made of it.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed. In IPython it is shown as one line.
    """
    with interrupts.track_sigint():
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            if not (isinstance(error, KeyboardInterrupt) or interrupts.was_interrupted()):
                raise
            if get_shell() is not None:
                raise Interrupted from None
            if isinstance(error, KeyboardInterrupt):
                raise
            raise KeyboardInterrupt from error
