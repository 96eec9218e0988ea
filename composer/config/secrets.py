"""Detection of tokens and passwords: they are read from the environment, and never from a config, which is recorded."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from composer.errors import ComposerError

#: A token of the Hugging Face hub.
TOKEN = re.compile(r"hf_[A-Za-z0-9]{8,}")
#: Keys, and names of environment variables, whose values are secret.
NAME = re.compile(r"(?:^|_)(?:token|secret|password|passwd|api_?key)(?:$|_)", re.IGNORECASE)
#: Shorter values of such variables are ignored: they are switches, or occur in any text.
MIN_SECRET_LENGTH = 8


def refuse_secrets(tree: Mapping[str, Any]) -> None:
    """Refuse a config that holds a secret; the message does not repeat it.

    Args:
        tree: Plain data.

    Raises:
        ComposerError: A key is named like a secret, or a text holds a hub token or the value of a secret variable.
    """
    known = _values(tuple(sorted((name, value) for name, value in os.environ.items() if NAME.search(name))))
    for key, value in iter_leaves(tree):
        if isinstance(value, str) and (_is_named(key) or TOKEN.search(value) or (known and known.search(value))):
            advice = "a token is taken from HF_TOKEN or from `hf auth login`, and never from a config"
            raise ComposerError(key, "***", f"looks like a secret: {advice}, which is written beside the images")


def iter_leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Iterate over the values of plain data that are neither list nor mapping.

    Args:
        node: Plain data.
        key: Dotted key of the node.

    Yields:
        Dotted key and value; items of a list have the list's key.
    """
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from iter_leaves(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from iter_leaves(value, key)
    else:
        yield key, node


@lru_cache(maxsize=4096)  # a sweep reads the same keys for each job
def _is_named(key: str) -> bool:
    """Whether a part of a key is named like a secret."""
    return any(NAME.search(part) for part in key.split("."))


@lru_cache(maxsize=8)
def _values(variables: tuple[tuple[str, str], ...]) -> re.Pattern[str] | None:
    """All secret values of the environment as one pattern."""
    values = [re.escape(value) for _, value in variables if len(value) >= MIN_SECRET_LENGTH]
    return re.compile("|".join(values)) if values else None
