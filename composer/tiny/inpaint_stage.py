"""Stage 5: a UNet that is told what to repaint, by a mask and the latents of the picture without it (9 channels in
all).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from composer.tiny.data import Pictures, scenes
from composer.tiny.masks import masked
from composer.tiny.networks import LATENT_SIZE
from composer.tiny.text_stage import encode
from composer.tiny.vae_stage import pixels
from composer.tiny.variant import ALL, Batch, fine_tune, widened


def train(
    base: UNet2DConditionModel, vae: AutoencoderKL, encoder: CLIPTextModel, tokenizer: CLIPTokenizer, data: Pictures, latents: Tensor,
    seed: int, work: Path, device: torch.device, steps: int, rounds: int = 2, batch: int = 32,
) -> UNet2DConditionModel:  # fmt: skip
    """`latents` (N, 4, 16, 16) are those of the pictures; each gets `rounds` masks."""
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
    data: Pictures,
    seed: int,
    rounds: int,
    work: Path,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Token ids (rounds · N, length) and the new channels (rounds · N, 5, 16, 16): mask, latents of the masked picture."""
    path = work / "inpaint-examples.pt"
    if path.exists():
        saved = torch.load(path, weights_only=True)
        return saved["ids"], saved["more"]
    count, size = len(data.images), data.images.shape[1]
    those = scenes(count, seed)
    texts, more = [], []
    for start in range(0, rounds * count, 100):
        index = torch.arange(start, min(start + 100, rounds * count)) % count
        made = [masked(those[i], size, np.random.default_rng((seed, i, 2, start // count))) for i in index.tolist()]
        texts += [text for _, text in made]
        mask = torch.from_numpy(np.stack([mask for mask, _ in made]))[:, None].to(device)
        with torch.autocast(device.type, torch.bfloat16):
            hidden = vae.encode(pixels(data, index, device)[0] * ~mask).latent_dist.mean.float()
        small = F.interpolate(mask.float(), size=(LATENT_SIZE, LATENT_SIZE))
        more.append(torch.cat([small, hidden], 1).half().cpu())
        if start % 5000 == 0:
            print(f"masks {start}/{rounds * count}", flush=True)
    ids, more = encode(tokenizer, texts).to(torch.int16), torch.cat(more)
    torch.save({"ids": ids, "more": more}, path)
    return ids, more
