"""Comparison of measured times, which reports no difference within the noise of the measurements."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median


def speedup(first: Sequence[float], other: Sequence[float]) -> float | None:
    """Compute how many times as fast another variant is, by the medians.

    Equal measurements count once, since jobs of one batch share a measurement.

    Args:
        first: Times of the first variant, in seconds.
        other: Times of the other variant, in seconds.

    Returns:
        The ratio; `None` if the ranges of the measurements overlap or a variant was measured once.

    Example:
        >>> speedup([2.0, 2.2], [1.0, 1.1]), speedup([2.0, 2.2], [2.1, 1.9]), speedup([2.0], [1.0])
        (2.0, None, None)
    """
    if min(len(set(first)), len(set(other))) < 2:
        return None
    apart = max(other) < min(first) or max(first) < min(other)
    return median(first) / median(other) if apart else None


def describe_speedup(first: Sequence[float], other: Sequence[float]) -> str:
    """Describe the result of `speedup` in a few words, for a table.

    Args:
        first: Times of the first variant, in seconds.
        other: Times of the other variant, in seconds.

    Returns:
        Such as `"1.50 x"`.
    """
    if min(len(set(first)), len(set(other))) < 2:
        return "measured once"
    ratio = speedup(first, other)
    return "no difference beyond the noise" if ratio is None else f"{ratio:.2f} x"
