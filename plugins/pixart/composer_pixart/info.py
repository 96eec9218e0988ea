"""How PixArt-α checkpoints are recognised, and their defaults; imports no torch."""

from __future__ import annotations

from composer import FamilyInfo, Supports

INFO = FamilyInfo(
    name="pixart",
    family="composer_pixart.model:PixArt",
    denoiser=("transformer", "PixArtTransformer2DModel"),
    pipeline="PixArtAlphaPipeline",
    requires=("vae", "text_encoder", "tokenizer"),
    size_multiple=2,  # the transformer's patches
    sample_size=128,
    steps=20,
    guidance_scale=4.5,
    supports=Supports(guiders=frozenset({"SkipLayerGuidance"}), fused_qkv=True),
)
