"""How Stable Diffusion 3 checkpoints are recognised, and their defaults; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from composer.checkpoints.layouts import FamilyInfo, Supports


def positions(transformer: Mapping[str, Any]) -> tuple[int, int]:
    """Most rows and columns: images are embedded by a square cut from a table."""
    side = int(transformer.get("pos_embed_max_size", 96))
    return side, side


INFO = FamilyInfo(
    name="sd3",
    family="composer.families.sd3.model:StableDiffusion3",
    denoiser=("transformer", "SD3Transformer2DModel"),
    pipeline="StableDiffusion3Pipeline",
    other_pipelines=("StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline"),
    excludes=("controlnet",),
    optional_components=("text_encoder_3", "tokenizer_3"),
    single_file_kinds=("sd3", "sd35_medium", "sd35_large"),
    size_multiple=2,
    sample_size=128,
    positions=positions,
    scheduler_type="flow",
    rounds_strength_up=True,
    steps=28,
    guidance_scale=7.0,
    supports=Supports(
        guiders=frozenset({"SkipLayerGuidance", "SmoothedEnergyGuidance"}),
        caches=frozenset({"magcache", "taylorseer", "faster_cache", "pyramid_attention_broadcast"}),
        fused_qkv=True,
        unfused_settings=("qk_norm", "dual_attention_layers"),
        onnx=True,
        openvino=True,
        xformers=True,
    ),
)
