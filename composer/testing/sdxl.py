"""Tiny SDXL and its refiner with random weights, in addition to `composer.testing.pipelines`."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl_img2img import (
    StableDiffusionXLImg2ImgPipeline,
)
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

from composer.compat.annotations import untyped
from composer.testing.parts import WIDTH, clip, clip_tokenizer, projecting_clip, vae


def sdxl(in_channels: int = 4, takes_guidance_scale: bool = False, seed: int = 0) -> StableDiffusionXLPipeline:
    """Create SDXL for 64 × 64 pixels, with an 8 × VAE.

    Args:
        in_channels: Input channels of the UNet; 9 make an inpainting model.
        takes_guidance_scale: Whether the UNet takes the guidance scale as an input, as latent consistency models do.
        seed: Seed of the weights.

    Returns:
        The pipeline.
    """
    torch.manual_seed(seed)
    return untyped(StableDiffusionXLPipeline)(
        unet=_unet(in_channels, 2 * WIDTH, conditions=6, time_cond_proj_dim=8 if takes_guidance_scale else None),
        vae=vae(4, (8, 8, 16, 16), scaling_factor=0.13025, use_quant_conv=True),
        text_encoder=clip(), tokenizer=clip_tokenizer(), text_encoder_2=projecting_clip(), tokenizer_2=clip_tokenizer(),
        scheduler=_scheduler(), add_watermarker=False,
    )  # fmt: skip


def sdxl_refiner(seed: int = 1) -> StableDiffusionXLImg2ImgPipeline:
    """Create SDXL's refiner: with the second text encoder only, and an aesthetic score in place of the target size.

    Args:
        seed: Seed of the UNet's weights; the other components are those of `sdxl()`.

    Returns:
        The pipeline.
    """
    base: Any = sdxl()  # diffusers registers components at run time
    torch.manual_seed(seed)
    return untyped(StableDiffusionXLImg2ImgPipeline)(
        unet=_unet(4, WIDTH, conditions=5), vae=base.vae, text_encoder=None, tokenizer=None,
        text_encoder_2=base.text_encoder_2,
        tokenizer_2=base.tokenizer_2, scheduler=_scheduler(), requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )  # fmt: skip


def _unet(in_channels: int, width: int, conditions: int, time_cond_proj_dim: int | None = None) -> UNet2DConditionModel:
    """width: of the text's embeddings. conditions: count of sizes and scores that go in beside the pooled
    embeddings.
    """
    return untyped(UNet2DConditionModel)(
        sample_size=8, in_channels=in_channels, out_channels=4, block_out_channels=(16, 32), layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width, attention_head_dim=(2, 4), transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=conditions * 8 + WIDTH, time_cond_proj_dim=time_cond_proj_dim,
    )  # fmt: skip


def _scheduler() -> EulerDiscreteScheduler:
    return EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading"
    )  # fmt: skip
