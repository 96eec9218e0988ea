"""Denoising loops of Modular Diffusers' blocks, and whether callbacks have their moments in them."""

from __future__ import annotations

import inspect
import re
from functools import lru_cache
from typing import Any

from composer.checks.modular_blocks import ModularWorkflow
from composer.errors import ComposerError

#: Block of a loop that evaluates the model.
DENOISER = "denoiser"


def loops_in(blocks: Any) -> dict[str, Any]:
    """Return the loops of a workflow.

    Args:
        blocks: Its blocks, one after the other.

    Returns:
        Name → loop, in the order in which they run.
    """
    from diffusers.modular_pipelines.modular_pipeline import LoopSequentialPipelineBlocks

    return {name: block for name, block in blocks.sub_blocks.items() if isinstance(block, LoopSequentialPipelineBlocks)}


def check_loops(pipeline: type[ModularWorkflow]) -> None:
    """Refuse a workflow with a loop in which the moments of callbacks can't be found.

    Args:
        pipeline: The workflow.

    Raises:
        ComposerError: A loop consists of blocks of other names, or has no timesteps.
    """
    for loop in loops_in(pipeline.blocks).values():
        inputs = {entry.name for entry in loop.inputs}
        names, cls = ", ".join(loop.sub_blocks), type(loop).__name__
        if DENOISER not in loop.sub_blocks or prediction_name(loop) is None:
            without = f"without a {DENOISER} that makes noise_pred, callbacks can't be called in it"
            reason = f"{cls} consists of {names}: {without}"
        elif not {"timesteps", "latents"} <= inputs or "scheduler" not in {s.name for s in loop.expected_components}:
            reason = (
                f"{cls} ({names}) takes its steps without a scheduler's timesteps, so its noise levels are not known"
            )
        else:
            continue
        raise ComposerError("model.source", pipeline.__name__, reason)


@lru_cache(maxsize=64)
def _assigned(denoiser: Any) -> tuple[str, ...]:
    try:
        return tuple(re.findall(r"block_state\.(noise_pred(?:_video)?)\s*=", inspect.getsource(denoiser)))
    except (OSError, TypeError):  # no source
        return ()


def prediction_name(loop: Any) -> str | None:
    """Return the name that the denoiser of a loop gives its prediction.

    Args:
        loop: The loop.

    Returns:
        ``noise_pred`` or ``noise_pred_video``; None if it makes neither.
    """
    denoiser: Any = type(loop.sub_blocks[DENOISER])
    return next(iter(_assigned(denoiser)), None)
