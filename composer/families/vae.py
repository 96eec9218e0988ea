"""What families with a VAE share: pixels → latents, a generator an image, and masks at the latents' size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from composer.families.base import DiffusersFamily
from composer.families.distinct import places
from composer.sampling.embedding_cache import digest, remember
from composer.sampling.non_finite import check, finite


def encoded(vae: nn.Module, pixels: Tensor, generators: tuple[torch.Generator, ...]) -> Tensor:
    """Pixels (B, 3, H, W) in −1 … 1 → samples of the VAE's distribution (B, C, H/f, W/f), not yet scaled.

    Each distinct image goes through the VAE alone, as diffusers does it for a list of generators; each image of the
    batch generates a
    sample of its own.
    """
    first, rows = places([digest(row) for row in pixels] if len(pixels) > 1 else [""] * len(pixels))
    pixels = pixels.to(vae.device, vae.dtype)
    # sliced with [i : i + 1], which keeps the memory format: convolutions sum in another order after [i][None]
    made = [_distribution(vae, pixels[i : i + 1]) for i in first]
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import retrieve_latents

    return torch.cat([retrieve_latents(made[row], generator=each) for row, each in zip(rows, generators, strict=True)])


def _distribution(vae: nn.Module, pixels: Tensor) -> Any:
    return remember(vae, lambda: ("encode", digest(pixels)), lambda: vae.encode(pixels))


def decoded(
    held: DiffusersFamily, latents: Tensor, unscaled: Callable[[Tensor], Tensor], needed: bool = False
) -> tuple[Tensor, tuple[str, ...]]:
    """Latents → pixels (B, 3, H, W), −1 … 1 and a little beyond; once more in fp32 where they overflow in 16 bits, as
    SDXL's may.

    Args:
        unscaled: makes the latents what the VAE knows.
        needed: compute in fp32 at once.

    Returns:
        The pixels, and a note where they were decoded twice.

    Raises:
        NonFinite: they are not finite in fp32 either, or `precision.vae_upcast` is false.
    """
    vae = held.pipe.vae
    upcast, notes = held.settings.upcast_vae, ()
    pixels = _decoded(vae, latents, unscaled, needed or upcast is True)
    if upcast == "auto" and vae.dtype != torch.float32 and not finite(pixels):
        dtype = str(vae.dtype).removeprefix("torch.")
        notes = (f"vae: its pixels overflowed in {dtype}, so they were decoded once more in fp32",)
        pixels = _decoded(vae, latents, unscaled, True)
    check("vae", "its image", pixels)
    return pixels, notes


def _decoded(vae: nn.Module, latents: Tensor, unscaled: Callable[[Tensor], Tensor], needed: bool) -> Tensor:
    with in_fp32(vae, needed):
        return vae.decode(unscaled(latents.to(vae.dtype)), return_dict=False)[0]


def scaled_mask(mask: Tensor, factor: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Mask (B, 1, H, W) → (B, 1, H/f, W/f), the nearest pixel of each cell."""
    height, width = mask.shape[-2:]
    return F.interpolate(mask, size=(height // factor, width // factor)).to(device, dtype)


@contextmanager
def in_fp32(vae: nn.Module, needed: bool) -> Iterator[None]:
    """Have a VAE compute in fp32 where `needed`: SDXL's overflows in fp16."""
    before = vae.dtype
    if not needed or before == torch.float32:
        yield
        return
    vae.to(dtype=torch.float32)
    try:
        yield
    finally:
        vae.to(dtype=before)
