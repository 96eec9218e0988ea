"""A tiny random PixArt-α; `python tiny_checkpoint.py FOLDER` writes it as a checkpoint."""

from __future__ import annotations

import sys

import torch
from diffusers import DPMSolverMultistepScheduler, PixArtAlphaPipeline, PixArtTransformer2DModel

from composer.testing import parts


def pixart() -> PixArtAlphaPipeline:
    """Build it at 256 x 256 pixels, with an 8 x VAE and learned variance."""
    torch.manual_seed(0)
    transformer = PixArtTransformer2DModel(
        sample_size=32, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=2, in_channels=4,
        caption_channels=parts.WIDTH, cross_attention_dim=16, out_channels=8, attention_bias=True,
        activation_fn="gelu-approximate", norm_type="ada_norm_single", norm_elementwise_affine=False, norm_eps=1e-6,
    )  # fmt: skip
    return PixArtAlphaPipeline(
        transformer=transformer.eval(),
        vae=parts.vae(4, (8, 8, 16, 16)),
        text_encoder=parts.t5(parts.WIDTH),
        tokenizer=parts.t5_tokenizer(),
        scheduler=DPMSolverMultistepScheduler(),
    )


if __name__ == "__main__":
    pixart().save_pretrained(sys.argv[1])
