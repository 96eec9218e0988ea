"""Stage 4: an unconditional UNet2DModel in pixel space, as in DDPM (https://arxiv.org/abs/2006.11239)."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import Tensor

from composer.tiny import networks
from composer.tiny.data import ImageSet
from composer.tiny.loop import Loop
from composer.tiny.unet_stage import add_noise, min_snr
from composer.tiny.vae_stage import pixels


def train(data: ImageSet, work: Path, device: torch.device, steps: int, size: int = 32, batch: int = 32) -> UNet2DModel:
    """Train the unconditional UNet.

    Args:
        data: Images of the training set.
        work: Directory of the resumable state.
        device: Device to train on.
        steps: Number of training steps.
        size: Pixels of an image's side.
        batch: Images in a step.

    Returns:
        The UNet.
    """
    model = networks.to_device(networks.unconditional_unet(size), device)
    loop = Loop("unconditional", model, work, steps=steps, lr=1.5e-3, average=0.998, plain=("conv_in", "conv_out"))
    alphas = networks.unconditional_scheduler().alphas_cumprod.to(device)
    weight = min_snr(alphas)
    pool = data.images.shape[1] // size
    small = torch.cat(
        [F.avg_pool2d(pixels(data, part, device)[0], pool) for part in torch.arange(len(data.images)).split(200)]
    )

    def loss() -> Tensor:
        x = small[torch.randint(0, len(small), (batch,), device=device)]
        x = torch.where(torch.rand(batch, 1, 1, 1, device=device) < 0.5, x, x.flip(-1))
        noisy, noise, t = add_noise(x, alphas)
        with torch.autocast(device.type, torch.bfloat16):
            guess = model(noisy, t).sample
        return (weight[t] * (guess.float() - noise).square().mean((1, 2, 3))).mean()

    loop.run(loss)
    return model
