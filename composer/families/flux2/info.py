"""How FLUX.2 checkpoints are recognised, and their defaults; imports no torch."""

from __future__ import annotations

from composer.checkpoints.layouts import FamilyInfo, Supports

INFO = FamilyInfo(
    name="flux2",
    family="composer.families.flux2.model:Flux2",
    denoiser=("transformer", "Flux2Transformer2DModel"),
    pipeline="Flux2KleinPipeline",
    other_pipelines=("Flux2Pipeline",),
    own_pipelines=("Flux2Pipeline",),
    reference_pipelines=("Flux2KleinPipeline", "Flux2Pipeline"),
    size_multiple=2,
    pack_factor=4,
    sample_size=128,
    timestep_scale=1000,
    scheduler_type="flow",
    rounds_strength_up=True,
    steps=50,
    guidance_scale=4.0,
    distilled_setting="is_distilled",
    supports=Supports(
        attention_backends=True,
        caches=frozenset({"faster_cache", "magcache", "pyramid_attention_broadcast", "taylorseer"}),
        fused_qkv=True,
    ),
)
