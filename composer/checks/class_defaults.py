"""Default settings of a hosted pipeline class: of its signature, its source text and the configs of its components."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from math import gcd, lcm
from typing import Any

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.pipeline_defaults import PipelineDefaults
from composer.checks.call_values import divisors, function_tree, local_values
from composer.checks.class_needs import fixed_frames
from composer.checks.pipeline_arguments import default_settings, name_of
from composer.checks.pipeline_class import output_kind

SIDES = ("height", "width")
#: Functions of a pipeline that round sizes, or refuse those that they would round.
ROUNDING = ("__call__", "check_inputs", "prepare_latents")
#: Attributes of video pipelines with the number of frames per latent frame.
FRAME_FACTORS = ("vae_scale_factor_temporal", "vae_temporal_compression_ratio", "vae_temporal_scale_factor")
#: Prefix of a class without an argument for it → frames per second in diffusers' examples; the first that fits counts.
FRAME_RATES = {
    "Wan": 16, "ChronoEdit": 16, "AnyFlow": 16, "Sana": 16, "HunyuanVideo": 15, "Allegro": 15, "SkyReels": 24,
    "Kandinsky": 24, "Helios": 24, "Mochi": 30, "CogVideoX": 8, "EasyAnimate": 8, "Latte": 8, "AnimateDiff": 8,
}  # fmt: skip
#: Frames per second of other clips, as diffusers' `export_to_video` has it.
FRAME_RATE = 10


def class_defaults(
    checkpoint: Checkpoint, pipeline: Any, skeleton: Any, given: Collection[str] = ()
) -> PipelineDefaults:
    """Find the default settings of a pipeline class for a checkpoint.

    Args:
        checkpoint: The checkpoint.
        pipeline: diffusers pipeline class.
        skeleton: The pipeline without weights; None where it can't be constructed.
        given: Keys of `TABLE` that the task gives, such as `image`, from which the pipeline may take its size.

    Returns:
        The defaults.
    """
    known = {"self": skeleton} if skeleton is not None else {}
    names = [name for key in given if (name := name_of(key, pipeline))]
    counts = {key: name_of(key, pipeline) for key in ("steps", "frames", "seconds", "fps")}
    requested = [*SIDES, *filter(None, counts.values())]
    first, _ = local_values(pipeline.__call__, known | {name: _Given for name in names}, requested)
    values = {key: _number(first.get(name)) if name else None for key, name in counts.items()}
    size = _size(first)
    settings = default_settings(pipeline.__name__, bool(checkpoint.takes_guidance_scale))
    kind, frames = output_kind(pipeline), fixed_frames(checkpoint) or values["frames"]
    return PipelineDefaults(
        size=size,
        multiple=_multiple(checkpoint, pipeline, known, size),
        steps=int(values["steps"] or settings["steps"]),
        guidance_scale=settings["guidance"],
        frames=None if frames is None else int(frames),
        frame_multiple=_frame_multiple(skeleton, frames),
        fps=(values["fps"] or frame_rate(pipeline)) if kind == "clip" else None,
        seconds=values["seconds"],
        rounds_strength_up=_rounds_strength_up(pipeline),
    )


class _Given:
    """An image that a task gives: it is not None, and all else of it is unknown before a run."""


def _size(first: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = (_number(first.get(side)) for side in SIDES)
    return None if height is None or width is None else (int(height), int(width))


def _number(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and value > 0 else None


def _multiple(checkpoint: Checkpoint, pipeline: Any, known: Mapping[str, Any], size: tuple[int, int] | None) -> int:
    """Least common multiple of all that sizes are divided by; the factor of the VAE without any."""
    functions = [getattr(pipeline, name) for name in ROUNDING if hasattr(pipeline, name)]
    all_divisors = {divisor for function in functions for divisor in divisors(function, known, SIDES)}
    multiple = lcm(*all_divisors) if all_divisors else checkpoint.vae_scale_factor
    return multiple if size is None else gcd(multiple, *size)


def _frame_multiple(skeleton: Any, frames: float | None) -> int:
    """Frames per latent frame, if the default has one frame more than a multiple of it."""
    factors = (getattr(skeleton, name, None) for name in FRAME_FACTORS)
    factor = next((value for value in factors if isinstance(value, int)), 1)
    return factor if frames is not None and (frames - 1) % factor == 0 else 1


def frame_rate(pipeline: Any) -> float:
    """Return the frames per second of clips whose pipeline has no argument for them.

    Args:
        pipeline: diffusers pipeline class.
    """
    name = pipeline.__name__
    return next((rate for prefix, rate in FRAME_RATES.items() if name.startswith(prefix)), FRAME_RATE)


def _rounds_strength_up(pipeline: Any) -> bool:
    """Whether `get_timesteps` cuts the steps that it skips to an integer, and not those that it takes."""
    tree = function_tree(pipeline.get_timesteps) if hasattr(pipeline, "get_timesteps") else None
    return tree is not None and "int(num_inference_steps * strength)" not in ast.unparse(tree)
