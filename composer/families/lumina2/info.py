"""How Lumina 2 checkpoints are recognised, and their defaults; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from composer.checkpoints.layouts import FamilyInfo, Supports


def positions(transformer: Mapping[str, Any]) -> tuple[int, int]:
    """Most rows and columns that its rotary embedding has frequencies for."""
    _, rows, columns = transformer.get("axes_lens", (300, 512, 512))
    return rows, columns


INFO = FamilyInfo(
    name="lumina2",
    family="composer.families.lumina2.model:Lumina2",
    denoiser=("transformer", "Lumina2Transformer2DModel"),
    pipeline="Lumina2Pipeline",
    other_pipelines=("Lumina2Text2ImgPipeline",),
    size_multiple=2,
    sample_size=128,
    positions=positions,
    timestep_scale=-1000,
    scheduler_type="flow",
    rounds_strength_up=True,
    steps=30,
    guidance_scale=4.0,
    supports=Supports(
        caches=frozenset({"pyramid_attention_broadcast"}),
    ),
)
