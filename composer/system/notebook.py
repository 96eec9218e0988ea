"""Composer in notebooks: images that show themselves, and one line for what went wrong."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from composer.system import interrupts

if TYPE_CHECKING:
    from PIL.Image import Image


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or the notebook's stop button, during a call of composer's."""

    def _render_traceback_(self) -> list[str]:
        """The lines that IPython shows."""
        return ["KeyboardInterrupt: composer was interrupted"]


class Page(str):
    """A text of several lines that a notebook and Python's prompt show as it is."""

    def __repr__(self) -> str:
        return str(self)


def shell() -> Any:
    """IPython's, where this runs in one; None elsewhere."""
    found = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return found() if found is not None else None


@contextmanager
def interruptible() -> Iterator[None]:
    """A call from Python: Ctrl-C comes out as KeyboardInterrupt whatever a library made of it, in IPython as one line.

    Raises:
        KeyboardInterrupt
    """
    with interrupts.track_sigint():
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            if not (isinstance(error, KeyboardInterrupt) or interrupts.came()):
                raise
            if shell() is not None:
                raise Interrupted from None
            if isinstance(error, KeyboardInterrupt):
                raise
            raise KeyboardInterrupt from error


def png(image: Image) -> bytes:
    """An image as a notebook shows it."""
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()
