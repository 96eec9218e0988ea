"""Whether one thing takes longer than another, or the difference is within the noise of the measurements."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median


def times_as_fast(first: Sequence[float], other: Sequence[float]) -> float | None:
    """How many times as fast the other is, by the medians; None where the measurements do not tell.

    Equal numbers count once: jobs of one batch share a measurement.

    Args:
        first, other: seconds, each measured several times.

    Example:
        >>> times_as_fast([2.0, 2.2], [1.0, 1.1]), times_as_fast([2.0, 2.2], [2.1, 1.9]), times_as_fast([2.0], [1.0])
        (2.0, None, None)
    """
    if min(len(set(first)), len(set(other))) < 2:
        return None
    apart = max(other) < min(first) or max(first) < min(other)
    return median(first) / median(other) if apart else None


def verdict(first: Sequence[float], other: Sequence[float]) -> str:
    """The same in words, as short as a cell of a table."""
    if min(len(set(first)), len(set(other))) < 2:
        return "measured once"
    ratio = times_as_fast(first, other)
    return "no difference beyond the noise" if ratio is None else f"{ratio:.2f} x"
