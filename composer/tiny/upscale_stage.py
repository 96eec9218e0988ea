"""Stage 8: the base UNet, fine-tuned to finish pictures of twice the size.

Away from its own size the base repeats things, since it learnt where on 16 × 16 latents they stand. The second pass of
`task=upscale` only ever takes the less noisy steps, so only these are learnt, on 32 × 32 latents.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from composer.tiny.data import CAPTIONS, Pictures, captions, scenes
from composer.tiny.text_stage import encode
from composer.tiny.vae_stage import pixels
from composer.tiny.variant import Batch, fine_tune

#: Timesteps below this are learnt, of 1000: strengths up to about .6.
LATEST = 600


def train(
    base: UNet2DConditionModel, vae: AutoencoderKL, encoder: CLIPTextModel, tokenizer: CLIPTokenizer, data: Pictures, seed: int,
    work: Path, device: torch.device, steps: int, batch: int = 8,
) -> UNet2DConditionModel:  # fmt: skip
    """`data` are the pictures of the scenes of `seed`, at twice the model's size."""
    latents = encoded(vae, data, device)
    texts = [text for ways in captions(scenes(len(latents), seed), seed) for text, _ in ways]
    ids = encode(tokenizer, texts).view(len(latents), CAPTIONS, -1).to(torch.int16)
    no_channels = torch.zeros(batch, 0, *latents.shape[2:])

    def sample() -> Batch:
        pick = torch.randint(0, len(latents), (batch,))
        return latents[pick], ids[pick, torch.randint(0, CAPTIONS, (batch,))], no_channels

    return fine_tune("upscale", base, encoder, encode(tokenizer, [""]), sample, work, device, steps, latest=LATEST)


@torch.no_grad()
def encoded(vae: AutoencoderKL, data: Pictures, device: torch.device) -> Tensor:
    """Latents (N, 4, 32, 32) float16."""
    rows = []
    for index in torch.arange(len(data.images)).split(25):
        with torch.autocast(device.type, torch.bfloat16):
            rows.append(vae.encode(pixels(data, index, device)[0]).latent_dist.mean.half().cpu())
    return torch.cat(rows)
