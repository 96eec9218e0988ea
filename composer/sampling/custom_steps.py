"""scheduler.timesteps and scheduler.sigmas: the steps themselves, in place of how many."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from composer.errors import ComposerError

#: Keywords of a scheduler's `set_timesteps` by which a user lays out the steps.
CUSTOM = ("timesteps", "sigmas")


def custom_steps(keywords: Mapping[str, Any]) -> tuple[str, list[float]] | None:
    """`timesteps` or `sigmas` and the list of them, where a scheduler's settings hold one.

    Raises:
        ComposerError: it is no list of numbers, or there are both.
    """
    given = {key: keywords[key] for key in CUSTOM if keywords.get(key) is not None}
    for key, value in given.items():
        number = isinstance(value, (list, tuple)) and value and all(type(item) in (int, float) for item in value)
        if not number:
            raise ComposerError(
                f"scheduler.{key}", value, f"must be a list of numbers, one for each step: scheduler.{key}=[…]"
            )
        if any(after >= before for before, after in pairwise(value)):
            raise ComposerError(f"scheduler.{key}", value, "must go down, from the noisiest step to the cleanest")
    if len(given) > 1:
        raise ComposerError(
            "scheduler.sigmas", given["sigmas"], "are set by scheduler.timesteps already: leave one of the two out"
        )
    return next(((key, list(value)) for key, value in given.items()), None)
