"""What a pipeline class needs that neither its signature nor its own check of inputs shows: known of diffusers 0.42."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.errors import ComposerError
from composer.system.signatures import keywords_of
from composer.tasks.base import ARGUMENTS

#: Schedulers that generate the random numbers of all images with one generator.
ONE_GENERATOR = ("AmusedScheduler",)
#: Word in names of classes whose ControlNet is for several kinds of control images, of which each must be named.
UNION = "ControlNetUnion"
#: Argument that names them.
CONTROL_MODE = "control_mode"
#: Classes that encode references in this dtype alone.
REFERENCE_DTYPE = {"ZImageOmniPipeline": "bf16"}
#: Classes whose models take both the first and the last frame where this setting says of how many tokens.
LAST_FRAME = ("WanImageToVideoPipeline",)


def why_one(pipeline: Any, checkpoint: Checkpoint) -> str | None:
    """Say why a pipeline class takes one prompt at a time.

    Args:
        pipeline: diffusers pipeline class.
        checkpoint: The checkpoint.

    Returns:
        The reason; None if nothing is known that keeps it from taking several.
    """
    if (scheduler := checkpoint.classes.get("scheduler")) in ONE_GENERATOR:
        return f"{scheduler} generates the random numbers of all images with one generator"
    if _is_union(pipeline):
        return f"{pipeline.__name__} takes several control images for one image"
    return None


def check_needs(
    pipeline: Any, checkpoint: Checkpoint, request: Request, batch: int, dtype_of: Callable[[str], str]
) -> None:
    """Refuse a request that a pipeline class would fail with in its own code.

    Args:
        pipeline: diffusers pipeline class.
        checkpoint: The checkpoint.
        request: The request.
        batch: Images in one batch.
        dtype_of: Component → name of its dtype, such as ``bf16``.

    Raises:
        ComposerError: The class needs another value.
    """
    name, inputs = pipeline.__name__, request.inputs
    if batch > 1 and (reason := why_one(pipeline, checkpoint)):
        raise ComposerError("batch", batch, f"{reason}: say batch=1")
    if _is_union(pipeline) and CONTROL_MODE not in inputs.get(ARGUMENTS, {}):
        reason = (
            f"{name} needs it, the kind of the control image: say {ARGUMENTS}.{CONTROL_MODE}=[0] for the first kind"
        )
        raise ComposerError(f"{ARGUMENTS}.{CONTROL_MODE}", None, reason)
    dtype = REFERENCE_DTYPE.get(name)
    if dtype and inputs.get("references") is not None and dtype_of("vae") != dtype:
        reason = f"{name} encodes references in {dtype} alone: say precision.vae={dtype}"
        raise ComposerError("precision.vae", dtype_of("vae"), reason)
    if name in LAST_FRAME and checkpoint.denoiser.get("pos_embed_seq_len") and inputs.get("last_image") is None:
        raise ComposerError("last_image", None, "this model wants the last frame too: last_image=FILE")
    only = fixed_frames(checkpoint)
    if only is not None and inputs.get("frames") not in (None, only):
        raise ComposerError(
            "frames", inputs["frames"], f"its model makes clips of {only} frames alone: say frames={only}"
        )


def fixed_frames(checkpoint: Checkpoint) -> int | None:
    """Return the number of frames that a model was made for, if it makes no other: that of Latte.

    Args:
        checkpoint: The checkpoint.
    """
    frames = checkpoint.denoiser.get("video_length")
    return frames if isinstance(frames, int) else None


def _is_union(pipeline: Any) -> bool:
    return UNION in pipeline.__name__ and CONTROL_MODE in keywords_of(pipeline.__call__)
