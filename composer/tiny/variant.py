"""Fine-tuning the base UNet, most of the time to take more input channels: what the variants' stages share.

Zero-initialised new channels are ignored for long; half the weights of a channel that looks alike, or small random
ones, with a fast first convolution and a loss that counts the noisy steps more, learn to read them in minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from composer.tiny import networks
from composer.tiny.loop import Loop
from composer.tiny.unet_stage import EMPTY, add_noise

#: A batch: clean latents (B, 4, h, w), token ids (B, length), the new channels (B, C, h, w), and the timestep it stays
#: below.
Batch = tuple[Tensor, Tensor, Tensor, int]
#: All timesteps.
ALL = 1000


def widened(base: UNet2DConditionModel, new: Tensor) -> UNet2DConditionModel:
    """Add input channels to a UNet.

    Args:
        base: The UNet.
        new: Weights of the new channels in the first convolution, (out, C, 3, 3).

    Returns:
        A UNet with C more input channels.
    """
    weights = base.state_dict()
    weights["conv_in.weight"] = torch.cat([weights["conv_in.weight"], new], 1)
    unet = networks.unet(in_channels=weights["conv_in.weight"].shape[1])
    unet.load_state_dict(weights)
    return unet


def fine_tune(
    name: str, unet: UNet2DConditionModel, encoder: CLIPTextModel, empty: Tensor, sample: Callable[[], Batch],
    work: Path,
    device: torch.device, steps: int, lr: float = 1e-3, fast: tuple[str, ...] = ("conv_in",),
) -> UNet2DConditionModel:  # fmt: skip
    """Fine-tune a UNet by epsilon-prediction, with the text encoder frozen.

    Args:
        name: Name of the stage.
        unet: The UNet.
        encoder: The text encoder.
        empty: Token ids of the empty prompt, (1, length).
        sample: Returns a batch.
        work: Directory of the resumable state.
        device: Device to train on.
        steps: Number of training steps.
        lr: Peak learning rate.
        fast: Parameters whose names start with one of these learn at five times the rate.

    Returns:
        The UNet.
    """
    unet = networks.to_device(unet, device)
    unet.set_attn_processor(AttnProcessor())
    encoder = networks.to_device(encoder, device).eval()
    loop = Loop(
        name, unet, work, steps=steps, lr=lr, warmup=50, fast=fast, plain=("conv_in", "conv_out"), average=0.997
    )
    alphas = networks.scheduler().alphas_cumprod.to(device)
    weight = (alphas / (1 - alphas) + 0.05) ** -0.5
    weight = weight / weight.mean()

    def loss() -> Tensor:
        latents, ids, more, latest = sample()
        latents, ids, more = (tensor.to(device) for tensor in (latents, ids, more))
        ids = torch.where(torch.rand(len(ids), 1, device=device) < EMPTY, empty.to(device), ids.long())
        noisy, noise, t = add_noise(latents.float(), alphas[:latest])
        with torch.autocast(device.type, torch.bfloat16):
            with torch.no_grad():
                hidden = encoder(ids).last_hidden_state
            guess = unet(torch.cat([noisy, more.float()], 1), t, hidden).sample
        return (weight[t] * (guess.float() - noise).square().mean((1, 2, 3))).mean()

    loop.run(loss)
    return unet
