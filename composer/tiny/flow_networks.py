"""The networks of the embedded flow checkpoint, in the layout of FLUX.2 klein, only small.

An image of 128 pixels is 64 tokens, and so is a reference beside it. The VAE is that of `networks.py` with FLUX.2's
batch norm behind it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_kl_flux2 import AutoencoderKLFlux2
from diffusers.models.transformers.transformer_flux2 import Flux2Transformer2DModel
from diffusers.pipelines.flux2.pipeline_flux2_klein import Flux2KleinPipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from torch import Tensor
from transformers import Qwen2Tokenizer, Qwen3Config, Qwen3ForCausalLM

from composer.compat.annotations import untyped
from composer.tiny.networks import LATENT_CHANNELS

WIDTH = 64  # of the text encoder's hidden states
#: Hidden states that klein's pipeline hands to the transformer, which fixes the depth of the encoder.
OUT_LAYERS = (9, 18, 27)
#: Layers that learn; the others hand their input on. Five are enough for these grammars.
LEARNT = (0, 1, 2, 9, 18)
#: Hidden states of an encoder of the learnt layers alone that equal those of `OUT_LAYERS`.
SHALLOW_OUT = (3, 4, 5)
PATCH = 4 * LATENT_CHANNELS  # channels of a token: 2 × 2 latents


def text_encoder(tokenizer: Qwen2Tokenizer, layers: int = len(LEARNT)) -> Qwen3ForCausalLM:
    """Build a text encoder for a tokenizer's vocabulary."""
    config = untyped(Qwen3Config)(  # a tokenizer's ids are annotated as whatever any tokenizer has
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=512,
        tie_word_embeddings=True, initializer_range=0.08, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None, eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
    )  # fmt: skip
    model = untyped(Qwen3ForCausalLM)(config)
    model.model.embed_tokens.weight.data.normal_(std=0.3)
    return model


def deepen(shallow: Qwen3ForCausalLM, tokenizer: Qwen2Tokenizer) -> Qwen3ForCausalLM:
    """Spread the learnt layers over an encoder as deep as klein's pipeline expects; the result is the same.

    Args:
        shallow: An encoder of the learnt layers.
        tokenizer: Its tokenizer.

    Returns:
        An encoder with `OUT_LAYERS[-1]` layers, of which those not learnt add nothing.
    """
    deep = text_encoder(tokenizer, OUT_LAYERS[-1])
    parts: Any = deep.model, shallow.model
    deeper, learnt = parts
    with torch.no_grad():
        for layer in deeper.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        for index, layer in zip(LEARNT, learnt.layers, strict=True):
            deeper.layers[index].load_state_dict(layer.state_dict())
        deeper.embed_tokens.load_state_dict(learnt.embed_tokens.state_dict())
        deeper.norm.load_state_dict(learnt.norm.state_dict())
    return deep


def embed(shallow: Qwen3ForCausalLM, ids: Tensor, pad: int) -> Tensor:
    """Encode prompts with the learnt layers alone, as the pipeline does with all of them.

    Args:
        shallow: An encoder of the learnt layers.
        ids: Token ids, (B, L).
        pad: Id of the padding.

    Returns:
        (B, L, 3 · WIDTH).
    """
    out = shallow.model(input_ids=ids, attention_mask=(ids != pad).long(), output_hidden_states=True, use_cache=False)
    return torch.cat([out.hidden_states[k] for k in SHALLOW_OUT], dim=-1)


def transformer() -> Flux2Transformer2DModel:
    """Build the denoiser. Frequencies suit a grid of 8 × 8 tokens, hence the small `rope_theta`."""
    return Flux2Transformer2DModel(
        in_channels=PATCH, num_layers=1, num_single_layers=6, attention_head_dim=32, num_attention_heads=6,
        joint_attention_dim=len(OUT_LAYERS) * WIDTH, timestep_guidance_channels=128, mlp_ratio=2.0,
        axes_dims_rope=(8, 8, 8, 8), rope_theta=100, guidance_embeds=False,
    )  # fmt: skip


def vae(base: AutoencoderKL) -> AutoencoderKLFlux2:
    """Take over a Stable Diffusion VAE; the batch norm's statistics remain to be measured."""
    names = (
        "in_channels", "out_channels", "down_block_types", "up_block_types", "block_out_channels", "layers_per_block",
        "latent_channels", "norm_num_groups", "sample_size", "mid_block_add_attention",
    )  # fmt: skip
    converted = untyped(AutoencoderKLFlux2)(**{name: base.config[name] for name in names})
    converted.load_state_dict(base.state_dict(), strict=False)
    return converted


def scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Build the checkpoint's scheduler: FLUX.2's, whose shift depends on the number of tokens and steps."""
    return FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)


def positions(time: int, rows: int, columns: int) -> Tensor:
    """Time, row, column and layer of the tokens of an image, (rows · columns, 4)."""
    return torch.cartesian_prod(torch.tensor([time]), torch.arange(rows), torch.arange(columns), torch.arange(1))


def text_positions(length: int) -> Tensor:
    """Time, row, column and layer of the tokens of a prompt, (length, 4)."""
    return torch.cartesian_prod(torch.arange(1), torch.arange(1), torch.arange(1), torch.arange(length))


def save(
    transformer: Flux2Transformer2DModel, encoder: Qwen3ForCausalLM, vae: AutoencoderKLFlux2,
    tokenizer: Qwen2Tokenizer, folder: Path,
) -> None:  # fmt: skip
    """Write the checkpoint in fp16, as klein's pipeline."""
    pipeline = untyped(Flux2KleinPipeline)(
        scheduler=scheduler(), vae=vae, text_encoder=encoder, tokenizer=tokenizer, transformer=transformer
    )
    pipeline.to("cpu", torch.float16).save_pretrained(folder)
    for part in ("text_encoder", "transformer", "vae"):
        tidy(folder / part / "config.json")


def tidy(path: Path) -> None:
    """Take this machine's paths out of a config, and the dtype, in which transformers would load it whatever is
    requested.
    """
    config = json.loads(path.read_text("utf-8"))
    for key in ("dtype", "_name_or_path"):
        config.pop(key, None)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
