"""The networks of the embedded checkpoint: ordinary diffusers and transformers classes, only small.

The latents are 16 × 16 whatever the image's size: the VAE takes the factor, so the UNet costs the same at 64 and 128
pixels.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessor,
)

from composer.compat.annotations import untyped

LATENT_SIZE = 16
ModuleT = TypeVar("ModuleT", bound=nn.Module)
LATENT_CHANNELS = 4
WIDTH = 128  # of the text encoder's hidden states


def to_device(model: ModuleT, device: torch.device) -> ModuleT:
    """Move a model. The `to` of diffusers and transformers only adds checks of quantized weights, and is not typed.

    Args:
        model: The model.
        device: Device to move it to.

    Returns:
        The model itself.
    """
    nn.Module.to(model, device)
    return model


def text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Build the text encoder for a tokenizer's vocabulary."""
    config = untyped(CLIPTextConfig)(  # a tokenizer's ids are annotated as whatever any tokenizer has
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length, projection_dim=WIDTH, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = CLIPTextModel(config)
    for name, parameter in model.named_parameters():
        if "embedding" in name:  # CLIP's own .02 starves so small a model
            parameter.data.normal_(std=0.3 if "token" in name else 0.1)
    return model


def vae(size: int) -> AutoencoderKL:
    """Build the VAE for images of `size` pixels.

    It has few groups: 16 groups on 16 channels would be instance norm at full resolution, and lose the colours.
    """
    channels = {64: (16, 32, 64), 128: (16, 32, 64, 64)}[size]
    return untyped(AutoencoderKL)(
        in_channels=3, out_channels=3, latent_channels=LATENT_CHANNELS, sample_size=size, block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels), up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=1, norm_num_groups=4, mid_block_add_attention=False, scaling_factor=1.0, force_upcast=False,
    )  # fmt: skip


def unet(in_channels: int = LATENT_CHANNELS, channels: tuple[int, int] = (64, 96)) -> UNet2DConditionModel:
    """Build the denoiser; the depth and inpainting variants take more `in_channels`."""
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE, in_channels=in_channels, out_channels=LATENT_CHANNELS, block_out_channels=channels,
        layers_per_block=1, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=WIDTH, attention_head_dim=4,
        norm_num_groups=16,
    )  # fmt: skip


def unconditional_unet(size: int) -> UNet2DModel:
    """Build the unconditional denoiser for images of 32 or 64 pixels, in pixel space."""
    plain, outer = (1, ()) if size == 32 else (2, (32,))
    return UNet2DModel(
        sample_size=size, in_channels=3, out_channels=3, block_out_channels=(*outer, 32, 64, 96), layers_per_block=1,
        down_block_types=("DownBlock2D",) * (plain + 1) + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * (plain + 1), norm_num_groups=8, attention_head_dim=32,
    )  # fmt: skip


def depth_estimator(size: int = 64) -> DPTForDepthEstimation:
    """Build the depth estimator for images of `size` pixels, in patches of 8."""
    return DPTForDepthEstimation(
        DPTConfig(
            hidden_size=96, num_hidden_layers=4, num_attention_heads=4, intermediate_size=192, image_size=size,
            patch_size=8, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[24, 48, 96, 96], fusion_hidden_size=32,
            is_hybrid=False, readout_type="project", reassemble_factors=[2, 1, 0.5, 0.25],
            use_batch_norm_in_fusion_residual=False, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )
    )  # fmt: skip


def depth_processor(size: int = 64) -> DPTImageProcessor:
    """Build the processor that prepares images of any size for the estimator."""
    return DPTImageProcessor(size={"height": size, "width": size}, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def scheduler() -> DDIMScheduler:
    """Build the checkpoint's scheduler: DDIM with Stable Diffusion's betas."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def unconditional_scheduler() -> DDPMScheduler:
    """Build the unconditional scheduler, with the betas of DDPM (https://arxiv.org/abs/2006.11239)."""
    return DDPMScheduler(beta_schedule="linear")
