"""How Chroma checkpoints are recognised, and their defaults; imports no torch."""

from __future__ import annotations

from composer.checkpoints.layouts import FamilyInfo, Supports

INFO = FamilyInfo(
    name="chroma",
    family="composer.families.chroma.model:Chroma",
    denoiser=("transformer", "ChromaTransformer2DModel"),
    pipeline="ChromaPipeline",
    other_pipelines=("ChromaImg2ImgPipeline",),
    size_multiple=2,
    pack_factor=4,
    sample_size=128,
    timestep_scale=1000,
    scheduler_type="flow",
    rounds_strength_up=True,
    steps=35,
    guidance_scale=5.0,
    supports=Supports(
        attention_backends=True,
        caches=frozenset({"faster_cache", "pyramid_attention_broadcast", "taylorseer"}),
        fused_qkv=True,
    ),
)
