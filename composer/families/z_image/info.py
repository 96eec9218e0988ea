"""How Z-Image checkpoints are recognised, and their defaults; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from composer.checkpoints.layouts import FamilyInfo, Supports


def positions(transformer: Mapping[str, Any]) -> tuple[int, int]:
    """Most rows and columns that its rotary embedding has frequencies for."""
    _, rows, columns = transformer.get("axes_lens", (1024, 512, 512))
    return rows, columns


INFO = FamilyInfo(
    name="z_image",
    family="composer.families.z_image.model:ZImage",
    denoiser=("transformer", "ZImageTransformer2DModel"),
    pipeline="ZImagePipeline",
    other_pipelines=("ZImageImg2ImgPipeline", "ZImageInpaintPipeline"),
    excludes=("controlnet", "siglip"),
    size_multiple=2,
    sample_size=128,
    positions=positions,
    timestep_scale=-1000,
    scheduler_type="flow",
    rounds_strength_up=True,
    steps=50,
    guidance_scale=6.0,  # diffusers counts from 0: its 5.0
    supports=Supports(
        attention_backends=True,
        caches=frozenset({"pyramid_attention_broadcast"}),
    ),
)
