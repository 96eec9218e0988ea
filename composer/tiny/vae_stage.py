"""Stage 2: the autoencoder, then the latents of the complete training set.

The first three latent channels are pulled towards the whitened colours of the pooled image: latents that look like the
image are the easiest to learn for a small UNet. Afterwards they are normalised channel by channel, inside the VAE.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from composer.compat.annotations import decode, latent_distribution
from composer.tiny import networks
from composer.tiny.data import ImageSet
from composer.tiny.loop import Loop


def train(
    data: ImageSet, test: ImageSet, work: Path, device: torch.device, steps: int, batch: int = 8
) -> AutoencoderKL:
    """Train the VAE.

    Args:
        data: Images of the training set.
        test: Images for the report.
        work: Directory of the resumable state.
        device: Device to train on.
        steps: Number of training steps.
        batch: Images in a step.

    Returns:
        The VAE.
    """
    size = data.images.shape[1]
    model = networks.to_device(networks.vae(size), device)
    loop = Loop("vae", model, work, steps=steps, lr=2e-3, average=0.99, plain=("conv_in.", "conv_out.", "quant_conv"))
    factor = size // networks.LATENT_SIZE
    middle, whiten = _colours(data, factor, device)
    held = pixels(test, torch.arange(32), device)[0]

    def loss() -> Tensor:
        x, weight = pixels(data, torch.randint(0, len(data.images), (batch,)), device)
        weight = 1 + 5 * F.max_pool2d(weight, 3, 1, 1)
        weight = weight / weight.mean()
        with torch.autocast(device.type, torch.bfloat16):
            latent = latent_distribution(model, x)
            y = decode(model, latent.sample())
        error = y.float() - x
        slopes = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        look = torch.einsum("bchw,kc->bkhw", F.avg_pool2d(x, factor) - middle.view(1, 3, 1, 1), whiten)
        alike = (F.avg_pool2d(weight, factor) * (latent.mean.float()[:, :3] - look) ** 2).mean()
        spread = 0.5 * (latent.mean**2 + latent.logvar.exp() - 1 - latent.logvar).float().mean()
        return (weight * (error.abs() + error**2)).mean() + 0.5 * slopes + 0.1 * alike + 5e-4 * spread

    @torch.no_grad()
    def report() -> str:
        y = model(held).sample.clamp(-1, 1)
        return f"PSNR {-10 * (((y - held) / 2) ** 2).mean().log10():.2f} dB"

    loop.run(loss, report)
    return model


@torch.no_grad()
def latents(model: AutoencoderKL, data: ImageSet, work: Path, device: torch.device) -> Tensor:
    """Normalise the VAE's latents and encode the set, or open the file of an earlier call.

    Args:
        model: The VAE; its 1 × 1 convolutions are changed in place.
        data: Images of the training set.
        work: Directory of the file.
        device: Device to encode on.

    Returns:
        Latents (N, 4, 16, 16) float16, with zero mean and unit variance in each channel.
    """
    path = work / "latents.pt"
    if path.exists():
        saved = torch.load(path, weights_only=True)
        _normalise(model, saved["mean"], saved["std"])
        return saved["latents"]
    chunks = []
    for start in range(0, len(data.images), 100):
        x = pixels(data, torch.arange(start, min(start + 100, len(data.images))), device)[0]
        with torch.autocast(device.type, torch.bfloat16):
            chunks.append(latent_distribution(model, x).mean.float().cpu())
    z = torch.cat(chunks)
    mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3))
    _normalise(model, mean, std)
    z = ((z - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)).half()
    torch.save({"latents": z, "mean": mean, "std": std}, path)
    return z


def pixels(data: ImageSet, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Load images of a set.

    Args:
        data: The set.
        index: Indices of images, (B,).
        device: Device of the result.

    Returns:
        Images (B, 3, S, S) in [-1, 1] and loss weights (B, 1, S, S) in [0, 1], fp32.
    """
    pick = index.numpy()
    images = torch.from_numpy(data.images[pick]).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    return images, torch.from_numpy(data.weights[pick]).to(device)[:, None].float() / 255


def _colours(data: ImageSet, factor: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean (3,) and whitening matrix (3, 3) of the colours of pooled images."""
    x = F.avg_pool2d(pixels(data, torch.arange(min(1000, len(data.images))), device)[0], factor)
    colours = x.permute(0, 2, 3, 1).reshape(-1, 3)
    variance, axes = torch.linalg.eigh(torch.cov(colours.T))
    return colours.mean(0), (axes / variance.sqrt().clamp(min=0.12)).T


def _normalise(model: AutoencoderKL, mean: Tensor, std: Tensor) -> None:
    """Fold (z − mean) / std into the 1 × 1 convolutions around the latents: exact, and `scaling_factor` stays 1."""
    into: Any = model.quant_conv  # optional in other VAEs; so are the biases
    back: Any = model.post_quant_conv
    mean, std = mean.to(into.bias.device), std.to(into.bias.device)
    channels = len(mean)
    with torch.no_grad():
        back.bias += back.weight[:, :, 0, 0] @ mean
        back.weight *= std.view(1, -1, 1, 1)
        into.weight[:channels] /= std.view(-1, 1, 1, 1)
        into.bias[:channels] = (into.bias[:channels] - mean) / std
        into.bias[channels:] -= 2 * std.log()
