"""Default settings of a workflow: of its inputs, of its pipeline's class and of the config of its guider."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.pipeline_defaults import PipelineDefaults
from composer.checks.class_defaults import FRAME_FACTORS, frame_rate
from composer.checks.modular_blocks import ModularWorkflow
from composer.checks.pipeline_arguments import default_of, name_of
from composer.checks.pipeline_class import output_kind
from composer.compat.modular import is_enabled

#: Attribute of a pipeline's class → setting, where its inputs have no default.
ATTRIBUTES = {"height": "default_height", "width": "default_width", "frames": "default_num_frames"}

#: Frames where blocks would choose a number by the prompt, as LTX-2's do: the default of its pipeline class.
FRAMES = 121


def workflow_defaults(
    checkpoint: Checkpoint, pipeline: type[ModularWorkflow], skeleton: Any, given: Collection[str] = ()
) -> PipelineDefaults:
    """Find the default settings of a workflow for a checkpoint.

    Args:
        checkpoint: The checkpoint.
        pipeline: The workflow.
        skeleton: Its pipeline without weights.
        given: Keys that the task gives, such as `image`, from which the blocks may take their size.

    Returns:
        The defaults.
    """
    values = {
        key: _default(pipeline, skeleton, key) for key in ("height", "width", "steps", "frames", "fps", "seconds")
    }
    height, width, clip = values["height"], values["width"], output_kind(pipeline) == "clip"
    frames = values["frames"] or (FRAMES if clip and name_of("frames", pipeline) else None)
    from_image = {"image", "references", "control_image"} & set(given) and not clip
    size = None if height is None or width is None or from_image else (int(height), int(width))
    return PipelineDefaults(
        size=size,
        multiple=_multiple(checkpoint, skeleton),
        steps=int(values["steps"] or 1),
        guidance_scale=_scale(pipeline, skeleton),
        frames=int(frames) if clip and frames is not None else None,
        frame_multiple=_frame_multiple(skeleton, frames) if clip else 1,
        fps=(values["fps"] or frame_rate(pipeline)) if clip else None,
        seconds=values["seconds"],
        rounds_strength_up=True,
    )  # fmt: skip


def _default(pipeline: type[ModularWorkflow], skeleton: Any, key: str) -> Any:
    """Default of an input, or of the pipeline's class if the input has none."""
    name = name_of(key, pipeline)
    value = None if name is None else default_of(pipeline, name)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number or key not in ATTRIBUTES or skeleton is None:
        return value if is_number else None
    attribute = getattr(skeleton, ATTRIBUTES[key], None)
    return attribute if isinstance(attribute, (int, float)) else None


def _scale(pipeline: type[ModularWorkflow], skeleton: Any) -> float:
    """Scale of the guider, 1 if it is off; without a guider that of the input."""
    if pipeline.guides:
        guider = getattr(skeleton, "guider", None)
        return float(guider.guidance_scale) if guider is not None and is_enabled(guider) else 1.0
    name = name_of("guidance.scale", pipeline)
    default = None if name is None else default_of(pipeline, name)
    return 1.0 if default is None else float(default)


def _multiple(checkpoint: Checkpoint, skeleton: Any) -> int:
    """Pixels of a patch: those of a latent along a side, times the latents that the transformer takes as one."""
    config, vae = checkpoint.denoiser, checkpoint.configs.get("vae", {})
    latents = vae.get("latent_channels") or vae.get("z_dim")
    patch = config.get("patch_size") or config.get("all_patch_size") or 1
    side = patch if isinstance(patch, int) else int(patch[-1])
    packs = latents is not None and config.get("in_channels") == 4 * latents
    # without a VAE, as of LTX-2.5, the pipeline's class knows the factor of what decodes
    factor = None if vae else getattr(skeleton, "vae_spatial_compression_ratio", None)
    return int(factor or checkpoint.vae_scale_factor) * max(side, 2 if packs else 1)


def _frame_multiple(skeleton: Any, frames: Any) -> int:
    factor = next((value for name in FRAME_FACTORS if isinstance(value := getattr(skeleton, name, None), int)), 1)
    return factor if isinstance(frames, int) and (frames - 1) % factor == 0 else 1
