"""Values at the root of the command line → what a task can count on, or one line that says what is wrong."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from math import isfinite
from typing import Any

from composer.errors import ComposerError

#: As many as torch's generators take.
SEEDS = 2**64
#: A generated seed is short enough to be typed again.
DRAWN = 2**32


def whole(key: str, value: Any, low: int, high: int | None = None) -> int:
    """A whole number in a range."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    fits = isinstance(value, int) and not isinstance(value, bool) and value >= low and (high is None or value <= high)
    if not fits:
        limits = f"{low} or more" if high is None else f"from {low} to {high}"
        raise ComposerError(key, value, f"must be a whole number, {limits}")
    return value


def number(key: str, value: Any, low: float, high: float) -> float:
    """A finite number in a range."""
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value) and low <= value <= high
    if not fits:
        raise ComposerError(key, value, f"must be a number from {low:g} to {high:g}")
    return float(value)


def flag(key: str, value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise ComposerError(key, value, "must be true or false")
    return value


def seed(value: Any) -> int:
    """0 … 2⁶⁴−1; null or −1 generates one."""
    if value is None or value == -1:
        return secrets.randbelow(DRAWN)
    return whole("seed", value, 0, SEEDS - 1)


def texts(key: str, value: Any) -> list[str]:
    """One text or a list of them."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
        return value
    raise ComposerError(key, value, "must be a text, or a list of texts: \"['one','two']\"")


def negatives(values: Mapping[str, Any], batch: int, images: int) -> tuple[str | None, ...]:
    """Negative prompts, one an image: given for all, or one for each prompt."""
    given = values.get("negative_prompt")
    if given is None or isinstance(given, str):
        return (given,) * batch
    return each("negative_prompt", texts("negative_prompt", given), batch, images)


def each(key: str, given: list[Any], batch: int, images: int) -> tuple[Any, ...]:
    """One value for all prompts, or one for each, → one an image."""
    if len(given) == 1:
        return (given[0],) * batch
    if len(given) * images != batch:
        raise ComposerError(key, given, f"give one for all prompts or one for each: {len(given)} for {batch // images}")
    return tuple(value for value in given for _ in range(images))
