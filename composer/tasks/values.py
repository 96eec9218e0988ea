"""Values at the root of the command line → what a task can count on, or one line that says what is wrong."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Annotated, Any

from composer.errors import ComposerError
from composer.system.constraints import Interval, require

#: As many as torch's generators take.
SEEDS = 2**64
#: A generated seed is short enough to be typed again.
DRAWN = 2**32


def require_integer(key: str, value: Any, hint: Any) -> int:
    """Refuse what is no integer in a range.

    Args:
        key: Config key of the value.
        value: A float such as `20.0` counts as 20: ranges of a sweep and JSON make floats of integers.
        hint: `int`, or `Annotated[int, …]`.

    Returns:
        The integer.

    Raises:
        ComposerError: It is no integer, or out of range.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return int(require(key, value, hint))


def seed(value: Any) -> int:
    """0 … 2⁶⁴−1; null or −1 generates one."""
    if value is None or value == -1:
        return secrets.randbelow(DRAWN)
    return require_integer("seed", value, Annotated[int, Interval(ge=0, le=SEEDS - 1)])


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
