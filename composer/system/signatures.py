"""The parameters that a function takes by keyword, and the refusal of others."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from composer.errors import ComposerError, suggest


def check_keywords(key: str, given: Mapping[str, Any], known: set[str]) -> None:
    """Refuse a keyword that is not in a signature: diffusers' from_config would swallow a misspelt one silently."""
    for name, value in given.items():
        if name not in known:
            near = suggest(name, known)
            raise ComposerError(
                f"{key}.{name}", value, f"there is no such setting.{near}", () if near else sorted(known)
            )


def keywords_of(function: Any) -> set[str]:
    """Names of the parameters that can be passed by keyword."""
    return set(_keywords(getattr(function, "__func__", function)))


@lru_cache(maxsize=1024)
def _keywords(function: Any) -> frozenset[str]:
    """Reading a signature takes longer than all else that a step does around the model."""
    parameters = inspect.signature(function).parameters.values()
    return frozenset(
        p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self"
    )
