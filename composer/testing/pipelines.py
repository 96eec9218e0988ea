"""Tiny pipelines of diffusers' own classes with random weights, one function a family.

A step takes milliseconds; their structure is that of the full-size models: attention, several resolutions, text
encoders and a VAE.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
from diffusers.pipelines.flux.pipeline_flux import FluxPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_depth2img import StableDiffusionDepth2ImgPipeline
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import StableDiffusion3Pipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from transformers import CLIPImageProcessor, DPTConfig, DPTForDepthEstimation, DPTImageProcessor

from composer.compat.annotations import untyped
from composer.testing.parts import (
    WIDTH,
    clip,
    clip_tokenizer,
    projecting_clip,
    safety_checker_of,
    t5,
    t5_tokenizer,
    vae,
)
from composer.testing.sdxl import sdxl, sdxl_refiner


def sd(
    prediction_type: str = "epsilon", in_channels: int = 4, safety_checker: bool = False, seed: int = 0
) -> StableDiffusionPipeline:
    """Create Stable Diffusion for 64 × 64 pixels, with an 8 × VAE.

    Args:
        prediction_type: `epsilon`, `v_prediction` or `sample`.
        in_channels: Input channels of the UNet; 9 make an inpainting model.
        safety_checker: Whether it has a safety checker.
        seed: Seed of the weights.

    Returns:
        The pipeline.
    """
    torch.manual_seed(seed)
    return untyped(StableDiffusionPipeline)(
        unet=UNet2DConditionModel(
            sample_size=8, in_channels=in_channels, out_channels=4, block_out_channels=(16, 32), layers_per_block=1,
            norm_num_groups=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=WIDTH, attention_head_dim=4,
        ),
        vae=vae(4, (8, 8, 16, 16), use_quant_conv=True),
        text_encoder=clip(), tokenizer=clip_tokenizer(),
        scheduler=untyped(DDIMScheduler)(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
            set_alpha_to_one=False, steps_offset=1, prediction_type=prediction_type,
        ),
        safety_checker=safety_checker_of() if safety_checker else None,
        feature_extractor=CLIPImageProcessor(size=32, crop_size=32) if safety_checker else None,
        requires_safety_checker=safety_checker,
    )  # fmt: skip


def sd_depth(seed: int = 0) -> StableDiffusionDepth2ImgPipeline:
    """Create Stable Diffusion with a fifth input channel for depth, and a depth estimator.

    Args:
        seed: Seed of the weights.

    Returns:
        The pipeline.
    """
    base = sd(in_channels=5, seed=seed)
    estimator = DPTForDepthEstimation(
        DPTConfig(
            hidden_size=WIDTH, num_hidden_layers=4, num_attention_heads=4, intermediate_size=37, image_size=32,
            patch_size=8, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[16, 16, 16, 16], fusion_hidden_size=16,
            is_hybrid=False,
        )
    )  # fmt: skip
    processor = DPTImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    parts = {name: getattr(base, name) for name in ("unet", "vae", "text_encoder", "tokenizer", "scheduler")}
    return StableDiffusionDepth2ImgPipeline(**parts, depth_estimator=estimator.eval(), feature_extractor=processor)


def sd3(
    in_channels: int = 16, with_t5: bool = True, dynamic_shift: bool = False, seed: int = 0
) -> StableDiffusion3Pipeline:
    """Create Stable Diffusion 3 for 64 × 64 pixels, with an 8 × VAE.

    Args:
        in_channels: Input channels of the transformer; 33 make an inpainting model.
        with_t5: Whether it has the third text encoder.
        dynamic_shift: Whether the scheduler's shift depends on the image size.
        seed: Seed of the weights.

    Returns:
        The pipeline.
    """
    torch.manual_seed(seed)
    return untyped(StableDiffusion3Pipeline)(
        transformer=SD3Transformer2DModel(
            sample_size=8, patch_size=2, in_channels=in_channels, out_channels=16, num_layers=2, attention_head_dim=8,
            num_attention_heads=4, joint_attention_dim=2 * WIDTH, caption_projection_dim=WIDTH,
            pooled_projection_dim=2 * WIDTH,
            pos_embed_max_size=16, dual_attention_layers=(0,), qk_norm="rms_norm",
        ),
        vae=vae(16, (8, 8, 8, 8), scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False,
            use_post_quant_conv=False),
        text_encoder=projecting_clip(), tokenizer=clip_tokenizer(), text_encoder_2=projecting_clip(),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5(2 * WIDTH) if with_t5 else None, tokenizer_3=t5_tokenizer() if with_t5 else None,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=dynamic_shift),
    )  # fmt: skip


def flux(guidance_embeds: bool = False, dynamic_shift: bool = True, seed: int = 0) -> FluxPipeline:
    """Create Flux for 32 × 32 pixels, with a 2 × VAE and 16 packed channels.

    Args:
        guidance_embeds: Whether the transformer takes the guidance scale as an input.
        dynamic_shift: Whether the scheduler's shift depends on the image size.
        seed: Seed of the weights.

    Returns:
        The pipeline.
    """
    torch.manual_seed(seed)
    return FluxPipeline(
        transformer=FluxTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH, pooled_projection_dim=WIDTH, axes_dims_rope=(4, 4, 8),
            guidance_embeds=guidance_embeds,
        ),
        vae=vae(4, (8, 8), scaling_factor=0.36, shift_factor=0.12, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=clip(), tokenizer=clip_tokenizer(),
        text_encoder_2=t5(WIDTH), tokenizer_2=t5_tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=dynamic_shift),
    )  # fmt: skip


def ddpm(seed: int = 0) -> DDPMPipeline:
    """Create an unconditional pipeline for 16 × 16 pixels.

    Args:
        seed: Seed of the weights.

    Returns:
        The pipeline.
    """
    torch.manual_seed(seed)
    unet: Any = UNet2DModel(  # diffusers' models have no types
        sample_size=16, in_channels=3, out_channels=3, block_out_channels=(16, 32), layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
    )  # fmt: skip
    return DDPMPipeline(unet.eval(), DDPMScheduler())


MAKERS: dict[str, Callable[[], Any]] = {
    "sd_inpaint": lambda: sd(in_channels=9), "sd_depth": sd_depth, "sd": sd, "sdxl": sdxl, "sdxl_refiner": sdxl_refiner,
    "sd3": sd3,
    "flux": flux, "ddpm": ddpm,
}  # fmt: skip


def save(family: str, folder: Path) -> Path:
    """Write a family's tiny pipeline as a checkpoint.

    Args:
        family: A key of `MAKERS`.
        folder: The directory to write to.

    Returns:
        The directory.
    """
    MAKERS[family]().save_pretrained(folder)
    return folder
