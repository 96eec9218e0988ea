"""Plain data of a config's node, with its type."""

from __future__ import annotations

from typing import Any, cast

from omegaconf import OmegaConf


def node_to_dict(node: Any, resolve: bool = False, enum_to_str: bool = False) -> dict[str, Any]:
    """Convert a mapping node of a config to plain data.

    Args:
        node: A `DictConfig`.
        resolve: Whether interpolations are replaced by their values.
        enum_to_str: Whether members of enumerations become their names.

    Returns:
        Dictionaries, lists and values.
    """
    container = OmegaConf.to_container(node, resolve=resolve, enum_to_str=enum_to_str)
    return cast("dict[str, Any]", container)  # that of a mapping is a dict
