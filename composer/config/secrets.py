"""Tokens and passwords belong into the environment: none may come into a config, and so into a file, a record or a
message.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from composer.errors import ComposerError

#: What the hub's tokens look like.
TOKEN = re.compile(r"hf_[A-Za-z0-9]{8,}")
#: Keys, and names of environment variables, whose values are secret.
NAME = re.compile(r"(?:^|_)(?:token|secret|password|passwd|api_?key)(?:$|_)", re.IGNORECASE)
#: Shorter values of such variables are more likely to be switches, or part of any text.
SHORTEST = 8


def refuse_secrets(tree: Mapping[str, Any]) -> None:
    """Hold a whole config against what is secret; the message does not repeat it.

    Raises:
        ComposerError: a key is named after a secret, or a text holds one.
    """
    known = _values(tuple(sorted((name, value) for name, value in os.environ.items() if NAME.search(name))))
    for key, value in iter_leaves(tree):
        named = any(NAME.search(part) for part in key.split(".")) and isinstance(value, str)
        if named or (isinstance(value, str) and (TOKEN.search(value) or (known and known.search(value)))):
            advice = "a token is taken from HF_TOKEN or from `hf auth login`, and never from a config, which is written beside the images"
            raise ComposerError(key, "***", f"looks like a secret: {advice}")


def iter_leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of everything in plain data that is no list and no mapping."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from iter_leaves(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from iter_leaves(value, key)
    else:
        yield key, node


@lru_cache(maxsize=8)
def _values(variables: tuple[tuple[str, str], ...]) -> re.Pattern[str] | None:
    """All secret values of the environment as one pattern."""
    found = [re.escape(value) for _, value in variables if len(value) >= SHORTEST]
    return re.compile("|".join(found)) if found else None
