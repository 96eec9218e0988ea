"""The family of a checkpoint: detected from its components, or requested with ``model.family``."""

from __future__ import annotations

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.detection import detect_family, fits, made_of, only, role
from composer.checkpoints.index import has_pipeline
from composer.checkpoints.layouts import HOSTED, broken_families, families, registrations
from composer.config.spec import ModelSpec
from composer.errors import ComposerError


def choose_family(model: ModelSpec, checkpoint: Checkpoint) -> str:
    """Return the family that a checkpoint belongs to, or the requested one if the checkpoint fits it.

    Args:
        model: The ``model`` settings of a run.
        checkpoint: The checkpoint, with component overrides applied.

    Returns:
        A native family, or ``hosted`` if the checkpoint's own diffusers pipeline runs it.

    Raises:
        ComposerError: The requested family does not fit, or neither composer nor diffusers can run the checkpoint.
    """
    requested, names = model.family, ("auto", *families(), HOSTED)
    if requested not in names:
        raise ComposerError("model.family", requested, broken_families().get(requested, "is not known"), names)
    if requested in families():
        if checkpoint.blocks:
            reason = f"the checkpoint exists only as blocks of Modular Diffusers ({checkpoint.blocks}): leave it out"
            raise ComposerError("model.family", requested, reason)
        _check_requested(requested, checkpoint)
        return requested
    _check_channels(model, checkpoint)
    known = None
    if requested == "auto":
        known = detect_family(checkpoint.pipeline, checkpoint.classes, checkpoint.configs, checkpoint.source)
    if known is None and not has_pipeline(checkpoint.pipeline):
        raise ComposerError("model.source", model.source, _why_unknown(checkpoint), sorted(families()))
    return known or HOSTED


def first_fit(checkpoint: Checkpoint) -> str | None:
    """Return the first family whose components a checkpoint has, whatever pipeline it names.

    Args:
        checkpoint: The checkpoint.

    Returns:
        Name of the family; None if none fits.
    """
    infos = families().items()
    return next((name for name, info in infos if fits(info, checkpoint.classes, checkpoint.configs)), None)


def _check_requested(family: str, checkpoint: Checkpoint) -> None:
    only([entry for entry in registrations() if entry.info.name == family], "model.family", family)
    if not fits(families()[family], checkpoint.classes, checkpoint.configs):
        reason = f"the checkpoint is none of this family ({checkpoint.pipeline}): leave it out"
        raise ComposerError("model.family", family, reason)


def _why_unknown(checkpoint: Checkpoint) -> str:
    similar = first_fit(checkpoint)
    advice = f"; model.family={similar} treats its components as those of such a model" if similar else ""
    return f"no family knows this kind of checkpoint, and diffusers has no pipeline {checkpoint.pipeline}{advice}"


def _check_channels(model: ModelSpec, checkpoint: Checkpoint) -> None:
    """Refuse a denoiser and a VAE whose channels no pipeline of a family can combine."""
    pipeline, classes, configs = checkpoint.pipeline, checkpoint.classes, checkpoint.configs
    infos = families().values()
    info = next((info for info in infos if pipeline in info.pipelines and made_of(info, classes)), None)
    if info is not None and role(info, configs) is None:
        denoiser = info.denoiser[0]
        channels = configs.get(denoiser, {}).get("in_channels")
        latents = configs.get("vae", {}).get("latent_channels")
        reason = (
            f"its {denoiser} takes {channels} channels and its VAE makes {latents}, with which {pipeline} can't work"
        )
        raise ComposerError("model.source", model.source, reason)
