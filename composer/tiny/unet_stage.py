"""Stage 3: the UNet, and the text encoder with it, on latents and captions.

Epsilon-prediction on Stable Diffusion's noise schedule, min-SNR weights (https://arxiv.org/abs/2303.09556), a tenth of
the captions empty for classifier-free guidance (https://arxiv.org/abs/2207.12598).
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from composer.tiny import networks
from composer.tiny.data import CAPTIONS, captions, scenes
from composer.tiny.loop import Loop
from composer.tiny.text_stage import encode

#: Fraction of captions that are left empty.
EMPTY = 0.1
MIN_SNR = 5.0


def train(
    latents: Tensor, seed: int, encoder: CLIPTextModel, tokenizer: CLIPTokenizer, work: Path, device: torch.device,
    steps: int, batch: int = 32,
) -> UNet2DConditionModel:  # fmt: skip
    """Train the UNet together with the text encoder.

    Args:
        latents: (N, 4, 16, 16), of the scenes of `seed` in their order.
        seed: Seed of the set.
        encoder: The text encoder, trained on.
        tokenizer: Its tokenizer.
        work: Directory of the resumable state.
        device: Device to train on.
        steps: Number of training steps.
        batch: Images in a step.

    Returns:
        The UNet.
    """
    unet = networks.to_device(networks.unet(), device)
    unet.set_attn_processor(AttnProcessor())  # SDPA's backward is slow on sequences this short
    model = nn.ModuleDict({"unet": unet, "text": networks.to_device(encoder, device).train()})
    loop = Loop("unet", model, work, steps=steps, lr=1.5e-3, warmup=150, slow=("text.",), plain=("conv_in", "conv_out"))
    texts = [text for ways in captions(scenes(len(latents), seed), seed) for text, _ in ways]
    ids = encode(tokenizer, texts).view(-1, CAPTIONS, tokenizer.model_max_length).to(torch.int16).to(device)
    empty = encode(tokenizer, [""]).to(device)
    latents = latents.to(device)
    alphas = networks.scheduler().alphas_cumprod.to(device)
    weight = min_snr(alphas)

    def loss() -> Tensor:
        pick = torch.randint(0, len(latents), (batch,), device=device)
        prompt = ids[pick, torch.randint(0, CAPTIONS, (batch,), device=device)].long()
        prompt = torch.where(torch.rand(batch, 1, device=device) < EMPTY, empty, prompt)
        noisy, noise, t = add_noise(latents[pick].float(), alphas)
        with torch.autocast(device.type, torch.bfloat16):
            guess = unet(noisy, t, encoder(prompt).last_hidden_state).sample
        return (weight[t] * (guess.float() - noise).square().mean((1, 2, 3))).mean()

    loop.run(loss)
    return unet


def add_noise(x: Tensor, alphas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Add noise at random timesteps, stratified over the batch, which reduces the variance of the loss.

    Args:
        x: Clean samples (B, …).
        alphas: Cumulative alphas of the schedule, (T,).

    Returns:
        Noisy samples (B, …), their noise (B, …), and timesteps (B,).
    """
    batch = len(x)
    t = (torch.arange(batch, device=x.device) + torch.rand(batch, device=x.device)) / batch * len(alphas)
    t = t.long().clamp(max=len(alphas) - 1)
    noise = torch.randn_like(x)
    alpha = alphas[t].view(-1, *[1] * (x.ndim - 1))
    return alpha.sqrt() * x + (1 - alpha).sqrt() * noise, noise, t


def min_snr(alphas: Tensor) -> Tensor:
    """Compute min-SNR weights (https://arxiv.org/abs/2303.09556).

    Args:
        alphas: Cumulative alphas of the schedule, (T,).

    Returns:
        Loss weight of each timestep, (T,), with mean 1.
    """
    snr = alphas / (1 - alphas)
    weight = snr.clamp(max=MIN_SNR) / snr
    return weight / weight.mean()
