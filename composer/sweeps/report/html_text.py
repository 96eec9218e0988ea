"""Text, links and durations as they appear in a sweep's page."""

from __future__ import annotations

import html
import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from composer.sweeps.report.cells import Cell

#: Control characters, which terminals or spreadsheets may obey, and surrogates; tabs and line breaks are kept.
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def strip_control(text: str) -> str:
    r"""Remove control characters and normalise line breaks.

    Args:
        text: Any text.

    Returns:
        The text without control characters; line breaks are ``\n``, as in a browser.
    """
    if text.isprintable():  # nearly always the case, and many times faster to test
        return text
    return CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


@lru_cache(maxsize=10_000)  # the same few values are in every cell
def escape(text: str) -> str:
    """Escape text for HTML.

    Args:
        text: Any text.

    Returns:
        HTML that is safe between tags and in quoted attributes.
    """
    return html.escape(strip_control(text))


def relative_url(cell: Cell, name: str = "") -> str:
    """Build the link to a job's file.

    Args:
        cell: The job.
        name: File in its subfolder; empty for the subfolder.

    Returns:
        A percent-encoded URL that can neither end an attribute nor start a scheme.
    """
    return quote(f"{cell.folder}/{name}", errors="surrogateescape")


def format_duration(seconds: float) -> str:
    """Format a duration.

    Args:
        seconds: Seconds; can be infinite or NaN.

    Returns:
        Text such as ``"1.25 s"``, ``"2 min 05 s"`` or ``"1 h 03 min"``.
    """
    if not math.isfinite(seconds):
        return "? s"
    if seconds < 99.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def css_class(state: str) -> str:
    """Convert a state to a class name of HTML elements.

    Args:
        state: One of `composer.sweeps.ledger.STATES`.

    Returns:
        The state with hyphens for spaces.
    """
    return state.replace(" ", "-")
