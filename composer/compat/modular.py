"""Private attributes of Modular Diffusers' blocks and pipelines. The module imports neither diffusers nor torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def workflows(blocks: Any) -> dict[str, Mapping[str, Any]]:
    """Return the workflows of blocks, and the inputs that select each.

    Args:
        blocks: Blocks of a pipeline.

    Returns:
        Name → inputs; one workflow without a name and without such inputs for blocks that name none.
    """
    named = blocks._workflow_map or {"": {}}
    return {name: inputs[0] if isinstance(inputs, tuple) else inputs for name, inputs in named.items()}


def trigger_inputs(blocks: Any) -> frozenset[str]:
    """Return the inputs by which blocks choose others.

    Args:
        blocks: Blocks of a pipeline.
    """
    return frozenset(blocks._get_trigger_inputs())


def is_enabled(guider: Any) -> bool:
    """Whether a guider was switched on when it was constructed, or later.

    Args:
        guider: A guider of diffusers.
    """
    return bool(guider._enabled)
