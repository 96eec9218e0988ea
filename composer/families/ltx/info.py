"""How LTX-Video checkpoints are recognised, and their defaults; imports no torch."""

from __future__ import annotations

from composer.checkpoints.layouts import FamilyInfo, Supports

INFO = FamilyInfo(
    name="ltx",
    family="composer.families.ltx.model:LTXVideo",
    denoiser=("transformer", "LTXVideoTransformer3DModel"),
    pipeline="LTXPipeline",
    other_pipelines=("LTXImageToVideoPipeline",),
    size=(512, 704),
    frames=161,
    fps=25,
    begins_with_image=True,
    scheduler_type="flow",
    steps=50,
    guidance_scale=3.0,
    supports=Supports(
        attention_backends=True,
        caches=frozenset({"faster_cache", "first_block_cache", "magcache", "pyramid_attention_broadcast"}),
    ),
)
