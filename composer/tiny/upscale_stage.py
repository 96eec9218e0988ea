"""Stage 8: the base UNet, fine-tuned to finish pictures of twice the size as well.

Away from its own size the base repeats things, since it learnt where on 16 × 16 latents they stand. The second pass of
`task=upscale` only ever takes the less noisy steps, so only these are learnt on 32 × 32 latents. Every other batch is
one
of the base's own, so that the first pass stays as good as it was.
"""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from composer.tiny.data import CAPTIONS, Pictures, captions, scenes
from composer.tiny.text_stage import encode
from composer.tiny.vae_stage import pixels
from composer.tiny.variant import ALL, Batch, fine_tune

#: Timesteps below this are learnt at twice the size, of 1000: strengths up to about .6.
LATEST = 600


def train(
    base: UNet2DConditionModel, vae: AutoencoderKL, encoder: CLIPTextModel, tokenizer: CLIPTokenizer, large: Pictures, latents: Tensor,
    seed: int, work: Path, device: torch.device, steps: int, batch: int = 32,
) -> UNet2DConditionModel:  # fmt: skip
    """`latents` (N, 4, 16, 16) are those of the scenes of `seed`, `large` the first of them at twice the size."""
    texts = [text for ways in captions(scenes(len(latents), seed), seed) for text, _ in ways]
    ids = encode(tokenizer, texts).view(len(latents), CAPTIONS, -1).to(torch.int16)
    sizes = cycle([(latents, batch, ALL), (encoded(vae, large, device), batch // 4, LATEST)])

    def sample() -> Batch:
        some, count, latest = next(sizes)
        pick = torch.randint(0, len(some), (count,))
        return some[pick], ids[pick, torch.randint(0, CAPTIONS, (count,))], some[pick, :0], latest

    settings = {"lr": 5e-4, "fast": ()}  # there is nothing new to read: the base need not move far
    return fine_tune("upscale", base, encoder, encode(tokenizer, [""]), sample, work, device, steps, **settings)


@torch.no_grad()
def encoded(vae: AutoencoderKL, data: Pictures, device: torch.device) -> Tensor:
    """Latents (N, 4, 32, 32) float16."""
    rows = []
    for index in torch.arange(len(data.images)).split(25):
        with torch.autocast(device.type, torch.bfloat16):
            rows.append(vae.encode(pixels(data, index, device)[0]).latent_dist.mean.half().cpu())
    return torch.cat(rows)
