"""Stage 5: a UNet that takes a mask and the latents of the masked image, as an inpainting model does (9 channels)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from composer.compat.annotations import latent_distribution
from composer.tiny.data import ImageSet, scenes
from composer.tiny.masks import masked
from composer.tiny.networks import LATENT_SIZE
from composer.tiny.text_stage import encode
from composer.tiny.vae_stage import pixels
from composer.tiny.variant import ALL, Batch, fine_tune, widened


def train(
    base: UNet2DConditionModel, vae: AutoencoderKL, encoder: CLIPTextModel, tokenizer: CLIPTokenizer, data: ImageSet,
    latents: Tensor, seed: int, work: Path, device: torch.device, steps: int, rounds: int = 2, batch: int = 32,
) -> UNet2DConditionModel:  # fmt: skip
    """Fine-tune the base UNet to take a mask.

    Args:
        base: The base UNet.
        vae: The VAE, which encodes masked images.
        encoder: The text encoder, which stays frozen.
        tokenizer: Its tokenizer.
        data: Images of the training set.
        latents: (N, 4, 16, 16), of these images.
        seed: Seed of the set.
        work: Directory of the resumable state.
        device: Device to train on.
        steps: Number of training steps.
        rounds: Masks for each image.
        batch: Images in a step.

    Returns:
        The UNet with 9 input channels.
    """
    ids, more = examples(vae, tokenizer, data, seed, rounds, work, device)
    old = base.conv_in.weight.detach()
    unet = widened(base, torch.cat([torch.zeros_like(old[:, :1]), old / 2], 1))

    def sample() -> Batch:
        pick = torch.randint(0, len(ids), (batch,))
        return latents[pick % len(latents)], ids[pick], more[pick], ALL

    return fine_tune("inpaint", unet, encoder, encode(tokenizer, [""]), sample, work, device, steps)


@torch.no_grad()
def examples(
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    data: ImageSet,
    seed: int,
    rounds: int,
    work: Path,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Sample masks with captions, or open the file of an earlier call.

    Args:
        vae: The VAE, which encodes masked images.
        tokenizer: Tokenizer of the captions.
        data: Images of the training set, N of them.
        seed: Seed of the set.
        rounds: Masks for each image.
        work: Directory of the file.
        device: Device to encode on.

    Returns:
        Token ids (rounds · N, length), and the new channels (rounds · N, 5, 16, 16): mask, latents of the masked image.
    """
    path = work / "inpaint-examples.pt"
    if path.exists():
        saved = torch.load(path, weights_only=True)
        return saved["ids"], saved["more"]
    count, size = len(data.images), data.images.shape[1]
    those = scenes(count, seed)
    texts: list[str] = []
    channels: list[Tensor] = []
    for start in range(0, rounds * count, 100):
        index = torch.arange(start, min(start + 100, rounds * count)) % count
        masks = [masked(those[i], size, np.random.default_rng((seed, i, 2, start // count))) for i in index.tolist()]
        texts += [text for _, text in masks]
        mask = torch.from_numpy(np.stack([mask for mask, _ in masks]))[:, None].to(device)
        with torch.autocast(device.type, torch.bfloat16):
            hidden = latent_distribution(vae, pixels(data, index, device)[0] * ~mask).mean.float()
        small = F.interpolate(mask.float(), size=(LATENT_SIZE, LATENT_SIZE))
        channels.append(torch.cat([small, hidden], 1).half().cpu())
        if start % 5000 == 0:
            print(f"masks {start}/{rounds * count}", flush=True)
    ids, more = encode(tokenizer, texts).to(torch.int16), torch.cat(channels)
    torch.save({"ids": ids, "more": more}, path)
    return ids, more
