"""How Wan checkpoints are recognised, and their defaults; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from composer.checkpoints.layouts import Argument, FamilyInfo, LastImage, Supports


def last_image(transformer: Mapping[str, Any]) -> LastImage:
    """What a model for image to video does with the last frame: those of Wan 2.1 read it with CLIP, or do not."""
    if transformer.get("image_dim") is None:
        return "optional"
    return "none" if transformer.get("pos_embed_seq_len") is None else "required"


def positions(transformer: Mapping[str, Any]) -> tuple[int, int]:
    """Most rows and columns that its rotary embedding has frequencies for."""
    most = int(transformer.get("rope_max_seq_len", 1024))
    return most, most


INFO = FamilyInfo(
    name="wan",
    family="composer.families.wan.model:Wan",
    denoiser=("transformer", "WanTransformer3DModel"),
    pipeline="WanPipeline",
    role_pipelines={"image2video": "WanImageToVideoPipeline"},
    size_multiple=2,
    positions=positions,
    size=(480, 832),
    frames=81,
    fps=16,
    begins_with_image="expand_timesteps",
    frame_marks=4,
    last_image=last_image,
    scheduler_type="flow",
    steps=50,
    guidance_scale=5.0,
    arguments={"guidance_scale_2": Argument(component="transformer_2")},
    supports=Supports(
        attention_backends=True,
        caches=frozenset({"faster_cache", "first_block_cache", "magcache", "pyramid_attention_broadcast"}),
        fused_qkv=True,
    ),
)
