"""How unconditional DDPM checkpoints are recognised, and their defaults; imports no torch."""

from __future__ import annotations

from composer.checkpoints.layouts import FamilyInfo, Supports

INFO = FamilyInfo(
    name="ddpm",
    family="composer.families.ddpm.model:Unconditional",
    denoiser=("unet", "UNet2DModel"),
    pipeline="DDPMPipeline",
    other_pipelines=("DDIMPipeline", "PNDMPipeline"),
    excludes=("vqvae", "vae", "mel"),
    conditioned_on=None,
    steps=1000,
    guidance_scale=1.0,
    supports=Supports(
        guiders=frozenset({"SkipLayerGuidance"}),
        channels_last=True,
        deepcache=True,
        onnx=True,
        openvino=True,
        xformers=True,
    ),
)
