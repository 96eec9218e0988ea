"""Keyword parameters of functions, and a check of keywords against them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from composer.errors import ComposerError, suggest


def check_keywords(key: str, keywords: Mapping[str, Any], known: set[str]) -> None:
    """Refuse keywords that a signature does not have; diffusers' `from_config` would ignore a misspelt one.

    Args:
        key: Config key of the component, for the error.
        keywords: Keywords and their values.
        known: Names of the signature's parameters.

    Raises:
        ComposerError: An unknown keyword, with a suggestion or with all known ones.
    """
    for name, value in keywords.items():
        if name not in known:
            hint = suggest(name, known)
            raise ComposerError(
                f"{key}.{name}", value, f"there is no such setting.{hint}", () if hint else sorted(known)
            )


def keywords_of(function: Any) -> set[str]:
    """Return the names of the parameters that can be passed by keyword.

    Args:
        function: A function, method or class.

    Returns:
        The names, without `self`.
    """
    return set(_keywords(getattr(function, "__func__", function)))


@lru_cache(maxsize=1024)
def _keywords(function: Any) -> frozenset[str]:
    """Cached: reading a signature takes longer than everything else that a step does around the model."""
    parameters = inspect.signature(function).parameters.values()
    return frozenset(
        p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self"
    )
