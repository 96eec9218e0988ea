"""How Wan checkpoints are recognised, and their defaults; imports no torch."""

from __future__ import annotations

from composer.checkpoints.layouts import FamilyInfo, Supports

INFO = FamilyInfo(
    name="wan",
    family="composer.families.wan.model:Wan",
    denoiser=("transformer", "WanTransformer3DModel"),
    pipeline="WanPipeline",
    excludes=("image_encoder",),
    size_multiple=2,
    size=(480, 832),
    frames=81,
    fps=16,
    scheduler_type="flow",
    steps=50,
    guidance_scale=5.0,
    arguments={"guidance_scale_2": "transformer_2"},
    supports=Supports(attention_backends=True, fused_qkv=True),
)
