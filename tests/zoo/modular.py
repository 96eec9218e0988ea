"""Checkpoints that exist only as blocks of Modular Diffusers, with tiny components."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers as d
import torch
from transformers import Qwen3Model

from composer.testing import parts, pipelines
from zoo.entry import randomise
from zoo.flow_images import klein, qwen, zimage
from zoo.text import qwen3, qwen_tokenizer


def anima() -> dict[str, Any]:
    """Anima, which has no pipeline class: a Qwen3 and a T5 tokenizer feed the text conditioner of a Cosmos transformer."""
    from diffusers.models.condition_embedders.condition_embedder_anima import AnimaTextConditioner

    return {
        "text_encoder": qwen3(Qwen3Model), "tokenizer": qwen_tokenizer(), "t5_tokenizer": parts.t5_tokenizer(),
        "text_conditioner": AnimaTextConditioner(
            source_dim=16, target_dim=16, model_dim=16, num_layers=1, num_attention_heads=2, min_sequence_length=16,
        ),
        "vae": d.AutoencoderKLQwenImage(base_dim=8, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1),
        "transformer": d.CosmosTransformer3DModel(
            in_channels=16, out_channels=16, num_attention_heads=2, attention_head_dim=16, num_layers=2, mlp_ratio=2,
            text_embed_dim=16, adaln_lora_dim=4, max_size=(4, 32, 32), patch_size=(1, 2, 2), concat_padding_mask=False,
            extra_pos_embed_type=None,
        ),
        "scheduler": d.FlowMatchEulerDiscreteScheduler(shift=3.0),
    }  # fmt: skip


def of(pipe: Any) -> Mapping[str, Any]:
    components: Mapping[str, Any] = pipe.components
    return components


#: Name → class of the modular pipeline, and a function that makes its components.
MAKERS: Mapping[str, tuple[str, Callable[[], Mapping[str, Any]]]] = {
    "zimage": ("ZImageModularPipeline", lambda: of(zimage())),
    "qwen": ("QwenImageModularPipeline", lambda: of(qwen())),
    "klein": ("Flux2KleinModularPipeline", lambda: of(klein())),
    "klein_base": ("Flux2KleinBaseModularPipeline", lambda: of(klein())),
    "flux": ("FluxModularPipeline", lambda: of(pipelines.flux(guidance_embeds=True))),
    "sdxl": ("StableDiffusionXLModularPipeline", lambda: of(pipelines.sdxl())),
    "anima": ("AnimaModularPipeline", anima),
}


def make(name: str) -> Any:
    """Make a modular pipeline, always with the same random weights."""
    cls, components = MAKERS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts_of = components()
        for _, part in sorted(parts_of.items()):
            if isinstance(part, torch.nn.Module):
                randomise(part)
    pipe = getattr(d, cls)()
    names = (name for name in pipe.pretrained_component_names if parts_of.get(name) is not None)
    pipe.register_components(**{name: parts_of[name] for name in names})
    return pipe


def write(name: str, folder: Path) -> Path:
    """Save a checkpoint that has no ``model_index.json``; returns its folder."""
    make(name).save_pretrained(str(folder), overwrite_modular_index=True)
    return folder
