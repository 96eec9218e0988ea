"""Reading of root keys: values of the right type, or an error that names the key."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from composer.errors import ComposerError
from composer.system.constraints import require
from composer.tasks.limits import Seed

#: Random seeds are below this bound, short enough to be typed.
RANDOM_SEEDS = 2**32


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
    """Read a seed.

    Args:
        value: In `[0, 2⁶⁴)`; null or −1 generates one below 2³².

    Returns:
        The seed.

    Raises:
        ComposerError: It is no integer, or out of range.
    """
    if value is None or value == -1:
        return secrets.randbelow(RANDOM_SEEDS)
    return require_integer("seed", value, Seed)


def texts(key: str, value: Any) -> list[str]:
    """Read one text or a list of texts.

    Args:
        key: Config key.
        value: The value.

    Returns:
        The texts.

    Raises:
        ComposerError: It is something else, or an empty list.
    """
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
        return value
    raise ComposerError(key, value, "must be a text, or a list of texts: \"['one','two']\"")


def negatives(values: Mapping[str, Any], batch: int, images: int) -> tuple[str | None, ...]:
    """Read the negative prompts.

    Args:
        values: Root key → value.
        batch: Number of images of the run.
        images: Number of images for each prompt.

    Returns:
        One negative prompt, or None, for each image.

    Raises:
        ComposerError: The number of negative prompts differs from that of prompts.
    """
    given = values.get("negative_prompt")
    if given is None or isinstance(given, str):
        return (given,) * batch
    return each("negative_prompt", texts("negative_prompt", given), batch, images)


def each(key: str, given: list[Any], batch: int, images: int) -> tuple[Any, ...]:
    """Distribute values over the images of a run.

    Args:
        key: Config key.
        given: One value for all prompts, one for each, or one for each image of the run.
        batch: Number of images of the run.
        images: Number of images for each prompt.

    Returns:
        One value for each image.

    Raises:
        ComposerError: The number of values is neither 1 nor that of prompts or images.
    """
    if len(given) == 1:
        return (given[0],) * batch
    if len(given) == batch:
        return tuple(given)
    if len(given) * images != batch:
        raise ComposerError(key, given, f"give one for all prompts or one for each: {len(given)} for {batch // images}")
    return tuple(value for value in given for _ in range(images))
