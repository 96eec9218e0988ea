"""Stage 6: a UNet that takes depth as a fifth input channel, as Stable Diffusion 2's depth model is.

Half of the captions mention neither shape nor position, so that these can only be read from the depth.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from composer.tiny.captions import caption, vague
from composer.tiny.data import scenes
from composer.tiny.networks import LATENT_SIZE
from composer.tiny.text_stage import encode
from composer.tiny.variant import ALL, Batch, fine_tune, widened

#: Captions of each kind for a scene.
EACH = 3


def train(
    base: UNet2DConditionModel, encoder: CLIPTextModel, tokenizer: CLIPTokenizer, latents: Tensor, near: np.ndarray,
    seed: int, work: Path, device: torch.device, steps: int, batch: int = 32,
) -> UNet2DConditionModel:  # fmt: skip
    """Fine-tune the base UNet to take depth.

    Args:
        base: The base UNet.
        encoder: The text encoder, which stays frozen.
        tokenizer: Its tokenizer.
        latents: (N, 4, 16, 16), of the scenes of `seed` in their order.
        near: (N, H, W), inverse depth of the same scenes in 1/metres.
        seed: Seed of the set.
        work: Directory of the resumable state.
        device: Device to train on.
        steps: Number of training steps.
        batch: Images in a step.

    Returns:
        The UNet with 5 input channels.
    """
    depth = torch.cat(
        [channel(torch.from_numpy(np.asarray(part, np.float32))) for part in np.array_split(near, len(near) // 500 + 1)]
    )
    texts = []
    for i, scene in enumerate(scenes(len(latents), seed)):
        rng = np.random.default_rng((seed, i, 3))
        texts += [vague(scene, rng) for _ in range(EACH)] + [caption(scene, rng)[0] for _ in range(EACH)]
    ids = encode(tokenizer, texts).view(len(latents), 2 * EACH, -1).to(torch.int16)
    generator = torch.Generator().manual_seed(seed)
    unet = widened(base, torch.randn(base.conv_in.weight[:, :1].shape, generator=generator) * 0.1)

    def sample() -> Batch:
        pick = torch.randint(0, len(latents), (batch,))
        return latents[pick], ids[pick, torch.randint(0, 2 * EACH, (batch,))], depth[pick], ALL

    return fine_tune("depth", unet, encoder, encode(tokenizer, [""]), sample, work, device, steps)


def channel(near: Tensor) -> Tensor:
    """Prepare depth as StableDiffusionDepth2ImgPipeline does.

    Args:
        near: Inverse depth (B, H, W).

    Returns:
        The model's input (B, 1, 16, 16) in [-1, 1].
    """
    small = F.interpolate(near[:, None], size=(LATENT_SIZE, LATENT_SIZE), mode="bicubic", align_corners=False)
    low, high = (of(small, dim=(1, 2, 3), keepdim=True) for of in (torch.amin, torch.amax))
    return 2 * (small - low) / (high - low) - 1
