"""Families: one model layout a file. This page only knows which there are, so that it can be read without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """How to know a family by its checkpoint.

    denoiser: the (component, class) that predicts. text: whether it takes a prompt. holder: the diffusers pipeline that
    holds its components. multiple: sizes must be multiples of the VAE's factor times this.
    """

    path: str
    denoiser: tuple[str, str]
    holder: str
    text: bool = True
    multiple: int = 1
    excludes: tuple[str, ...] = ()


LAYOUTS = {
    "sd": Layout(
        path="composer.families.sd.StableDiffusion", denoiser=("unet", "UNet2DConditionModel"), holder="StableDiffusionPipeline",
        excludes=("text_encoder_2",),
    ),
    "flux": Layout(
        path="composer.families.flux.Flux", denoiser=("transformer", "FluxTransformer2DModel"), holder="FluxPipeline", multiple=2,
    ),
    "ddpm": Layout(path="composer.families.ddpm.Unconditional", denoiser=("unet", "UNet2DModel"), holder="DDPMPipeline", text=False),
}  # fmt: skip


def recognise(classes: Mapping[str, str]) -> str | None:
    """Component names → class names of a checkpoint; the family that fits, or None."""
    for name, layout in LAYOUTS.items():
        component, wanted = layout.denoiser
        if classes.get(component) == wanted and not any(classes.get(other) for other in layout.excludes):
            return name
    return None
