"""Tiny random-weight pipelines of diffusers' own classes, one function a family.

Small enough to step in milliseconds, built like the real ones: attention, several resolutions, text encoders, a VAE.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, PreTrainedTokenizerFast, T5Config, T5EncoderModel

WIDTH = 32  # of hidden states


def sd(prediction_type: str = "epsilon", seed: int = 0) -> StableDiffusionPipeline:
    """Stable Diffusion at 64 × 64 pixels with an 8 × VAE."""
    torch.manual_seed(seed)
    return StableDiffusionPipeline(
        unet=UNet2DConditionModel(
            sample_size=8, in_channels=4, out_channels=4, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=WIDTH, attention_head_dim=4,
        ),
        vae=_vae(4, (8, 8, 16, 16), use_quant_conv=True),
        text_encoder=_clip(), tokenizer=clip_tokenizer(),
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
            steps_offset=1, prediction_type=prediction_type,
        ),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def flux(guidance_embeds: bool = False, dynamic_shift: bool = True, seed: int = 0) -> FluxPipeline:
    """Flux at 32 × 32 pixels with a 2 × VAE and 16 packed channels."""
    torch.manual_seed(seed)
    return FluxPipeline(
        transformer=FluxTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
            joint_attention_dim=WIDTH, pooled_projection_dim=WIDTH, axes_dims_rope=(4, 4, 8), guidance_embeds=guidance_embeds,
        ),
        vae=_vae(4, (8, 8), scaling_factor=0.36, shift_factor=0.12, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=_clip(), tokenizer=clip_tokenizer(),
        text_encoder_2=T5EncoderModel(T5Config(vocab_size=300, d_model=WIDTH, d_kv=8, d_ff=37, num_layers=1, num_heads=4)).eval(),
        tokenizer_2=_t5_tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=dynamic_shift),
    )  # fmt: skip


def ddpm(seed: int = 0) -> DDPMPipeline:
    """An unconditional UNet at 16 × 16 pixels."""
    torch.manual_seed(seed)
    unet = UNet2DModel(
        sample_size=16, in_channels=3, out_channels=3, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"), attention_head_dim=8,
    )  # fmt: skip
    return DDPMPipeline(unet.eval(), DDPMScheduler())


MAKERS = {"sd": sd, "flux": flux, "ddpm": ddpm}


def save(family: str, folder: Path) -> Path:
    """Write a family's tiny pipeline as a checkpoint."""
    MAKERS[family]().save_pretrained(folder)
    return folder


def clip_tokenizer(length: int = 77) -> CLIPTokenizer:
    """Byte-level, without merges: every letter is a token."""
    from composer.tiny.tokenizer import bytes_to_unicode

    alphabet = bytes_to_unicode()
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=length)


def _clip() -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=514, hidden_size=WIDTH, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=77,
        projection_dim=WIDTH, bos_token_id=512, eos_token_id=513, pad_token_id=513,
    )  # fmt: skip
    return CLIPTextModel(config).eval()


def _t5_tokenizer() -> PreTrainedTokenizerFast:
    """A unigram over single letters, closed by </s>, as T5's are."""
    tokens = ["<pad>", "</s>", "<unk>", *(chr(i) for i in range(32, 127))]
    inner = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=48)


def _vae(latent_channels: int, channels: tuple[int, ...], **more: object) -> AutoencoderKL:
    levels = len(channels)
    return AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=latent_channels, block_out_channels=channels, layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels, **more,
    ).eval()  # fmt: skip
