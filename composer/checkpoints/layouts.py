"""Families: one model layout a file. This page only knows which there are, so that it can be read without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FamilyInfo:
    """How to know a family by its checkpoint, and what follows from it before any weights are loaded.

    denoiser: the (component, class) that predicts. holder: the diffusers pipeline that holds its components; holders:
    for
    the roles that want another. text: whether it takes a prompt. multiple: sizes must be multiples of the VAE's factor
    times this. packed: latents that one input position holds. sample_size: latents along a side where the config is
    silent.
    kind: what schedulers suit it where the checkpoint's own does not tell. counts_begun: whether a step that strength
    only begins counts as a whole one. requires, excludes: components that tell it from others with the same denoiser.
    pipelines: of diffusers that do what the family does, with more than its holders: a checkpoint that names another
    one, such as for
    edits or control, is that pipeline's own, however much its weights look alike.
    steps, scale: defaults of its diffusers pipeline. distils: whether that scale is for models that take it as an input
    alone.
    """

    path: str
    denoiser: tuple[str, str]
    pipe: str
    text: bool = True
    multiple: int = 1
    packed: int = 1
    sample_size: int = 64
    kind: str = "diffusion"
    rounds_strength_up: bool = False
    requires: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    pipes: tuple[tuple[str, str], ...] = ()
    pipelines: tuple[str, ...] = ()
    steps: int = 50
    scale: float = 7.5
    distils: bool = False

    def skipped(self, steps: int, strength: float) -> int:
        """Steps left out at the start for a strength of 0–1, rounded as this family's diffusers pipelines do it."""
        if self.rounds_strength_up:
            return int(max(steps - min(steps * strength, steps), 0))
        return max(steps - min(int(steps * strength), steps), 0)

    def role(self, in_channels: int, latent_channels: int) -> str | None:
        """What the model takes beside noisy latents: nothing (plain), mask and masked latents (inpaint) or depth; else
        None.
        """
        more = in_channels // self.packed - latent_channels
        return {0: "plain", 1: "depth", latent_channels + 1: "inpaint"}.get(more)


LAYOUTS = {
    "sd": FamilyInfo(
        path="composer.families.sd.StableDiffusion", denoiser=("unet", "UNet2DConditionModel"), pipe="StableDiffusionPipeline",
        requires=("vae", "text_encoder", "tokenizer"),
        excludes=("text_encoder_2", "image_encoder", "image_normalizer", "prior", "vocoder", "controlnet"),
        pipes=(("depth", "StableDiffusionDepth2ImgPipeline"),),
        pipelines=(
            "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline", "StableDiffusionInpaintPipelineLegacy",
            "LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline",
        ),
    ),
    "sdxl": FamilyInfo(
        path="composer.families.sdxl.StableDiffusionXL", denoiser=("unet", "UNet2DConditionModel"), pipe="StableDiffusionXLPipeline",
        sample_size=128, requires=("text_encoder_2",), excludes=("controlnet", "adapter"), scale=5.0,
        pipelines=("StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"),
    ),
    "sd3": FamilyInfo(
        path="composer.families.sd3.StableDiffusion3", denoiser=("transformer", "SD3Transformer2DModel"), pipe="StableDiffusion3Pipeline",
        multiple=2, sample_size=128, kind="flow", rounds_strength_up=True, excludes=("controlnet",), steps=28, scale=7.0,
        pipelines=("StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline"),
    ),
    "flux": FamilyInfo(
        path="composer.families.flux.Flux", denoiser=("transformer", "FluxTransformer2DModel"), pipe="FluxPipeline", multiple=2,
        packed=4, sample_size=128, kind="flow", rounds_strength_up=True, pipelines=("FluxImg2ImgPipeline", "FluxInpaintPipeline"),
        steps=28, scale=3.5, distils=True,
    ),
    "ddpm": FamilyInfo(
        path="composer.families.ddpm.Unconditional", denoiser=("unet", "UNet2DModel"), pipe="DDPMPipeline", text=False,
        excludes=("vqvae", "vae", "mel"), pipelines=("DDIMPipeline", "PNDMPipeline"), steps=1000, scale=1.0,
    ),
}  # fmt: skip


#: The pipeline of an index that names none: its components alone tell what it is.
UNNAMED = "unknown"
#: The name of no family: a checkpoint's own diffusers pipeline is called as it is.
CLASSIC = "classic"


def classic(pipeline: str, classes: Mapping[str, str]) -> FamilyInfo:
    """The layout of a checkpoint that no family knows."""
    denoiser = next((name for name in ("unet", "transformer", "prior", "decoder") if name in classes), "unet")
    text = any(name.startswith("text_encoder") for name in classes)
    return FamilyInfo(
        path="composer.pipelines.classic.run.Called",
        denoiser=(denoiser, classes.get(denoiser, "")),
        pipe=pipeline,
        text=text,
    )


def detect_family(pipeline: str, classes: Mapping[str, str], configs: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The pipeline that a checkpoint's index names, component names → class names and json; the family that fits, or
    None.
    """
    found = next((name for name in LAYOUTS if fits(name, classes, configs)), None)
    return found if found is None or pipeline == UNNAMED or does(found, pipeline) else None


def fits(family: str, classes: Mapping[str, str], configs: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a checkpoint is made of a family's components, with input channels that a task has use for."""
    return made_of(family, classes) and role(family, configs) is not None


def made_of(family: str, classes: Mapping[str, str]) -> bool:
    """Whether a checkpoint is made of a family's components."""
    layout = LAYOUTS[family]
    component, wanted = layout.denoiser
    alike = all(map(classes.get, layout.requires)) and not any(map(classes.get, layout.excludes))
    return classes.get(component) == wanted and alike


def does(family: str, pipeline: str) -> bool:
    """Whether a family's tasks do what a diffusers pipeline does."""
    layout = LAYOUTS[family]
    return pipeline in (layout.pipe, *dict(layout.pipes).values(), *layout.pipelines)


def role(family: str, configs: Mapping[str, Mapping[str, Any]]) -> str | None:
    """A checkpoint's role in its family, from its json; a family without a VAE has but one."""
    layout = LAYOUTS[family]
    denoiser, vae = configs.get(layout.denoiser[0], {}), configs.get("vae")
    if vae is None and denoiser.get("out_channels") is None:
        return "plain"
    latents = (vae or {}).get("latent_channels") or denoiser["out_channels"] // layout.packed
    return layout.role(denoiser.get("in_channels", latents * layout.packed), latents)
