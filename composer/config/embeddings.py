"""The node ``embedding``: vectors for words of prompts, from textual inversion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from composer.config.adapter_nodes import EMBEDDING, read_specs
from composer.config.spec import EmbeddingSpec
from composer.errors import ComposerError
from composer.system.constraints import check_arguments


def read_embeddings(node: Mapping[str, Any]) -> Mapping[str, EmbeddingSpec]:
    """Read the textual inversions of a run; one whose file is null is none.

    Args:
        node: The node ``embedding`` as plain data.

    Returns:
        Settings by name, in their order; the name of the one at the node itself is empty.

    Raises:
        ComposerError: A key is unknown, a value is of a wrong type, or a setting belongs to no file.
    """
    return read_specs(EMBEDDING, node, _spec)


def _spec(key: str, entry: dict[str, Any]) -> EmbeddingSpec | None:
    check_arguments(key, EmbeddingSpec, entry if entry["file"] is not None else {**entry, "file": "-"})
    if entry["file"] is None:
        return None
    spec = EmbeddingSpec(**entry)
    if not spec.file:
        raise ComposerError(key, None, f"names no file: {key}=FILE, or {key}=null for none")
    if spec.word is not None and (not spec.word.strip() or len(spec.word.split()) > 1):
        raise ComposerError(f"{key}.word", spec.word, "must be one word, such as <ink>")
    return spec
