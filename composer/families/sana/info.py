"""How Sana checkpoints are recognised, and their defaults; imports no torch."""

from __future__ import annotations

from composer.checkpoints.layouts import FamilyInfo, Supports

INFO = FamilyInfo(
    name="sana",
    family="composer.families.sana.model:Sana",
    denoiser=("transformer", "SanaTransformer2DModel"),
    pipeline="SanaPipeline",
    excludes=("controlnet",),
    sample_size=32,
    scheduler_type="flow",
    steps=20,
    guidance_scale=4.5,
    supports=Supports(
        caches=frozenset({"faster_cache", "pyramid_attention_broadcast"}),
    ),
)
