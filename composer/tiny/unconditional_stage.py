"""Stage 4: an unconditional UNet2DModel in pixel space, as in DDPM (https://arxiv.org/abs/2006.11239).

It is trained at 32 pixels and grown to 64 by one more level outside, as GANs were
(https://arxiv.org/abs/1710.10196): the levels inside begin with what they learnt of the same scenes.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import Tensor

from composer.tiny import networks
from composer.tiny.data import ImageSet
from composer.tiny.loop import Loop
from composer.tiny.unet_stage import add_noise, min_snr
from composer.tiny.vae_stage import pixels

#: Pixels of an image's side, before and after growing.
SMALL, LARGE = 32, 64


def train_small(data: ImageSet, work: Path, device: torch.device, steps: int) -> UNet2DModel:
    """Train the UNet for 32 pixels.

    Args:
        data: Images of the training set.
        work: Directory of the resumable state.
        device: Device to train on.
        steps: Number of training steps, of 32 images.

    Returns:
        The UNet.
    """
    model = networks.to_device(networks.unconditional_unet(SMALL), device)
    loop = Loop("unconditional", model, work, steps=steps, lr=1.5e-3, average=0.998, plain=("conv_in", "conv_out"))
    _run(loop, model, scaled(data, SMALL, device), batch=32)
    return model


def train_large(
    small: UNet2DModel, data: ImageSet, work: Path, device: torch.device, steps: int, batch: int = 16
) -> UNet2DModel:
    """Grow the UNet to 64 pixels, and train it on.

    Args:
        small: The UNet for 32 pixels.
        data: Images of the training set.
        work: Directory of the resumable state.
        device: Device to train on.
        steps: Number of training steps.
        batch: Images in a step. 16 at a time fit a CPU's cache, which makes an image a fifth cheaper than 32 do.

    Returns:
        The UNet.
    """
    model = networks.to_device(grow(small), device)
    for module in model.modules():
        if isinstance(module, Attention):
            module.set_processor(AttnProcessor())  # SDPA's backward is slow on sequences this short
    loop = Loop(
        "unconditional64", model, work, steps=steps, lr=1e-3, average=0.999, plain=("conv_in", "conv_out")
    )  # fmt: skip
    _run(loop, model, scaled(data, LARGE, device), batch)
    return model


def grow(small: UNet2DModel) -> UNet2DModel:
    """Add a level outside of a UNet.

    Args:
        small: The UNet for 32 pixels.

    Returns:
        A UNet for 64 pixels, whose levels inside have the weights of `small`.
    """
    large = networks.unconditional_unet(LARGE)
    weights = large.state_dict()
    for name, value in small.state_dict().items():
        root, _, rest = name.partition(".")
        if root == "down_blocks":
            index, _, rest = rest.partition(".")
            name = f"{root}.{int(index) + 1}.{rest}"
        weights[name] = value.float()
    large.load_state_dict(weights)
    return large


def scaled(data: ImageSet, size: int, device: torch.device) -> Tensor:
    """Scale all images of a set down by averaging.

    Args:
        data: Images, of a multiple of `size` pixels.
        size: Pixels of a side.
        device: Device of the result.

    Returns:
        (N, 3, size, size) in [-1, 1].
    """
    pool = data.images.shape[1] // size
    parts = torch.arange(len(data.images)).split(200)
    return torch.cat([F.avg_pool2d(pixels(data, part, device)[0], pool) for part in parts])


def _run(loop: Loop, model: UNet2DModel, images: Tensor, batch: int) -> None:
    """Train on images and their mirror images."""
    device = images.device
    alphas = networks.unconditional_scheduler().alphas_cumprod.to(device)
    weight = min_snr(alphas)

    def loss() -> Tensor:
        x = images[torch.randint(0, len(images), (batch,), device=device)]
        x = torch.where(torch.rand(batch, 1, 1, 1, device=device) < 0.5, x, x.flip(-1))
        noisy, noise, t = add_noise(x, alphas)
        with torch.autocast(device.type, torch.bfloat16):
            guess = model(noisy, t).sample
        return (weight[t] * (guess.float() - noise).square().mean((1, 2, 3))).mean()

    loop.run(loss)
