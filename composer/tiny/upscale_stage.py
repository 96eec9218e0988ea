"""Stage 8: the base UNet, fine-tuned to finish images of twice the size as well.

Away from its own size the base repeats things, since it learnt their positions on 16 × 16 latents. The second pass of
`task=upscale` only ever takes the less noisy steps, so only these are learnt on 32 × 32 latents. Every other batch is
one of the base's own, so that the first pass stays as good as it was.
"""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from composer.compat.annotations import latent_distribution
from composer.tiny.data import CAPTIONS, ImageSet, captions, scenes
from composer.tiny.text_stage import encode
from composer.tiny.vae_stage import pixels
from composer.tiny.variant import ALL, Batch, fine_tune

#: Timesteps below this are learnt at twice the size, of 1000: strengths up to about .6.
LATEST = 600


def train(
    base: UNet2DConditionModel, vae: AutoencoderKL, encoder: CLIPTextModel, tokenizer: CLIPTokenizer, large: ImageSet,
    latents: Tensor, seed: int, work: Path, device: torch.device, steps: int, batch: int = 32,
) -> UNet2DConditionModel:  # fmt: skip
    """Fine-tune the base UNet on latents of twice the size as well.

    Args:
        base: The base UNet.
        vae: The VAE, which encodes the large images.
        encoder: The text encoder, which stays frozen.
        tokenizer: Its tokenizer.
        large: The first images of the set at twice the size.
        latents: (N, 4, 16, 16), of the scenes of `seed` in their order.
        seed: Seed of the set.
        work: Directory of the resumable state.
        device: Device to train on.
        steps: Number of training steps.
        batch: Images in a step.

    Returns:
        The UNet.
    """
    texts = [text for ways in captions(scenes(len(latents), seed), seed) for text, _ in ways]
    ids = encode(tokenizer, texts).view(len(latents), CAPTIONS, -1).to(torch.int16)
    sizes = cycle([(latents, batch, ALL), (encoded(vae, large, device), batch // 4, LATEST)])

    def sample() -> Batch:
        some, count, latest = next(sizes)
        pick = torch.randint(0, len(some), (count,))
        return some[pick], ids[pick, torch.randint(0, CAPTIONS, (count,))], some[pick, :0], latest

    empty = encode(tokenizer, [""])
    # there is nothing new to read: the base need not move far
    return fine_tune("upscale", base, encoder, empty, sample, work, device, steps, lr=5e-4, fast=())


@torch.no_grad()
def encoded(vae: AutoencoderKL, data: ImageSet, device: torch.device) -> Tensor:
    """Encode images of twice the size.

    Args:
        vae: The VAE.
        data: The images.
        device: Device to encode on.

    Returns:
        Latents (N, 4, 32, 32) float16.
    """
    rows = []
    for index in torch.arange(len(data.images)).split(25):
        with torch.autocast(device.type, torch.bfloat16):
            rows.append(latent_distribution(vae, pixels(data, index, device)[0]).mean.half().cpu())
    return torch.cat(rows)
