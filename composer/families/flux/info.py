"""How FLUX.1 checkpoints are recognised, and their defaults; imports no torch."""

from __future__ import annotations

from composer.checkpoints.layouts import FamilyInfo, Supports

INFO = FamilyInfo(
    name="flux",
    family="composer.families.flux.model:Flux",
    denoiser=("transformer", "FluxTransformer2DModel"),
    pipeline="FluxPipeline",
    other_pipelines=("FluxImg2ImgPipeline", "FluxInpaintPipeline", "FluxKontextPipeline"),
    role_pipelines={"inpaint": "FluxFillPipeline"},
    pipeline_defaults={"FluxFillPipeline": (50, 30.0)},
    pixel_masks=True,
    reference_pipelines=("FluxKontextPipeline",),
    one_reference_pipelines=("FluxKontextPipeline",),
    reference_area=(1024 * 1024, 1024 * 1024),
    single_file_kinds=("flux-dev", "flux-schnell", "flux-fill", "flux-depth"),
    size_multiple=2,
    pack_factor=4,
    sample_size=128,
    timestep_scale=1000,
    scheduler_type="flow",
    rounds_strength_up=True,
    steps=28,
    guidance_scale=3.5,
    distilled_scale=True,
    supports=Supports(
        guiders=frozenset({"SkipLayerGuidance"}),
        attention_backends=True,
        caches=frozenset(
            {"first_block_cache", "magcache", "taylorseer", "faster_cache", "pyramid_attention_broadcast"}
        ),
        fused_qkv=True,
        openvino=True,  # torch's ONNX exporter lacks its RMS norm
    ),
)
