"""Checkpoints that exist only as blocks of Modular Diffusers, with tiny components."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers as d
import torch
from transformers import Qwen3Model

from composer.testing import parts, pipelines
from zoo.dit_images import ernie, krea2
from zoo.entry import randomise
from zoo.flow_images import klein, qwen, zimage
from zoo.ltx import ltx2
from zoo.text import QWEN, qwen3, qwen_tokenizer, qwen_vl_processor
from zoo.unet_images import changed
from zoo.wan import wan


def anima() -> dict[str, Any]:
    """Anima, which has no pipeline class: a Qwen3 and a T5 tokenizer feed the text conditioner of a Cosmos
    transformer.
    """
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


def flux3() -> dict[str, Any]:
    """FLUX.3, which has no pipeline class: a language model writes the caption that a second one encodes."""
    from transformers import (
        Qwen3_5Config,
        Qwen3_5ForConditionalGeneration,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
    )

    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2]}
    text = QWEN | {"num_hidden_layers": 33, "head_dim": 8, "rope_scaling": rope}
    writer = QWEN | {"num_hidden_layers": 2, "head_dim": 8, "layer_types": ["full_attention"] * 2}
    return {
        "prompt_upsampler": Qwen3_5ForConditionalGeneration(Qwen3_5Config(text_config=writer, vision_config=vision)),
        "text_encoder": Qwen3VLForConditionalGeneration(
            Qwen3VLConfig(text_config=text, vision_config=vision | {"deepstack_visual_indexes": [0]})
        ),
        "prompt_upsampler_processor": qwen_vl_processor(), "tokenizer": qwen_vl_processor(), "vae": klein().vae,
        "transformer": d.Flux3Transformer2DModel(
            in_channels=16, cond_in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=128, timestep_channels=16, axes_dims_rope=(4, 4, 4, 4),
        ),
    }  # fmt: skip


def ltx25() -> dict[str, Any]:
    """LTX-2.5, for which there is no pipeline class: a decoder that denoises, with random numbers of its own, replaces
    LTX-2's VAE. Its factors are those that the blocks have without a VAE: 32 pixels and 8 frames for a latent.
    """
    parts_of = {name: part for name, part in ltx2().components.items() if name not in ("vae", "processor")}
    decoder = d.LTX2VideoDiffusionDecoderModel(
        latent_channels=4, patch_size=16, decoder_head_dim=8, decoder_stage_channels=(16, 16, 16, 16, 16),
        decoder_stage_depths=(1, 1, 1, 1, 1), decoder_stage_kernels=((1, 2, 2),) * 4, decoder_stage5_kernel=(2, 2, 2),
        decoder_upsample_strides=((2, 1, 1), (2, 1, 1), (2, 1, 1), (1, 2, 2)),
        decoder_upsample_channel_reductions=(1, 1, 1, 1),
        decoder_t_emb_dim=16,
    )  # fmt: skip
    return {**parts_of, "diffusion_decoder": decoder}


def krea() -> dict[str, Any]:
    """Krea 2, whose blocks read twelve layers of an encoder with 36."""
    pipe = krea2()
    config = pipe.text_encoder.config.to_dict()
    text = QWEN | {"num_hidden_layers": 36, "head_dim": 8}
    encoder = type(pipe.text_encoder)(
        type(pipe.text_encoder.config)(text_config=text, vision_config=config["vision_config"])
    )
    return {**pipe.components, "text_encoder": encoder, "transformer": changed(pipe.transformer, num_text_layers=12)}


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
    "flux3": ("Flux3ModularPipeline", flux3),
    "krea2": ("Krea2ModularPipeline", krea),
    "ernie": ("ErnieImageModularPipeline", lambda: of(ernie())),
    "ltx2": ("LTX2ModularPipeline", lambda: of(ltx2())),
    "ltx25": ("LTX25ModularPipeline", ltx25),
    "wan": ("WanModularPipeline", lambda: of(wan())),
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
