"""Encoding and decoding with a VAE, shared by the families that have one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from composer.compat.pipeline_functions import sample_latents
from composer.families.base import Family
from composer.families.distinct import index_distinct
from composer.sampling.embedding_cache import cached, content_hash
from composer.sampling.non_finite import check_finite, is_finite


def encode_pixels(
    vae: Any, pixels: Tensor, generators: tuple[torch.Generator, ...], sample: bool = True
) -> Tensor:  # fmt: skip
    """Encode pixels and sample the VAE's distribution.

    Each distinct image is encoded alone, as diffusers does for a list of generators. Each image of the batch then
    samples its own latents.

    Args:
        vae: An autoencoder of diffusers.
        pixels: `(B, 3, H, W)`, or `(B, 3, frames, H, W)` for a VAE of videos; float, in `[-1, 1]`.
        generators: One CPU generator an image.
        sample: Whether to sample; else the distribution's mode is taken.

    Returns:
        Latents `(B, C, H/f, W/f)` in the scale of the VAE, with f pixels per latent.
    """
    keys = [content_hash(row) for row in pixels] if len(pixels) > 1 else [""] * len(pixels)
    first, rows = index_distinct(keys)
    pixels = pixels.to(vae.device, vae.dtype)
    # sliced with [i : i + 1], which keeps the memory format: convolutions add in another order after [i][None]
    distributions = [_encode_image(vae, pixels[i : i + 1]) for i in first]
    samples = zip(rows, generators, strict=True)
    return torch.cat([sample_latents(distributions[row], generator, sample) for row, generator in samples])


def _encode_image(vae: Any, pixels: Tensor) -> Any:
    return cached(vae, lambda: ("encode", content_hash(pixels)), lambda: vae.encode(pixels))


def decode_latents(
    family: Family,
    latents: Tensor,
    unscale: Callable[[Tensor], Tensor],
    force_upcast: bool = False,
    arguments: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Tensor, tuple[str, ...]]:
    """Decode latents to pixels; once more in fp32 where they overflow in 16 bits, as those of SDXL may.

    Args:
        family: Its pipeline has the VAE; its settings say whether to upcast.
        latents: `(B, C, H/f, W/f)` in the scale of the denoiser.
        unscale: Maps latents from the scale of the denoiser to that of the VAE.
        force_upcast: Whether to decode in fp32 at once.
        arguments: Further arguments of the VAE's `decode`.

    Returns:
        Pixels `(B, 3, H, W)`, in `[-1, 1]` and slightly beyond, and a note if they were decoded twice.

    Raises:
        NonFinite: The pixels are not finite in fp32 either, or `precision.vae_upcast` is false.
    """
    vae, upcast = family.pipe.vae, family.settings.upcast_vae
    notes: tuple[str, ...] = ()
    decode = partial(_decode_in, vae, latents, unscale, arguments)
    pixels = decode(force_upcast or upcast is True)
    if upcast == "auto" and vae.dtype != torch.float32 and not is_finite(pixels):
        dtype = str(vae.dtype).removeprefix("torch.")
        notes = (f"vae: its pixels overflowed in {dtype}, so they were decoded once more in fp32",)
        pixels = decode(True)
    check_finite("vae", "its image", pixels)
    return pixels, notes


def _decode_in(
    vae: Any, latents: Tensor, unscale: Callable[[Tensor], Tensor], arguments: Mapping[str, Any], upcast: bool
) -> Tensor:
    with upcast_to_fp32(vae, upcast):
        return vae.decode(unscale(latents.to(vae.dtype)), return_dict=False, **arguments)[0]


def resize_mask(mask: Tensor, vae_scale_factor: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Resize a mask to the latents, by the nearest pixel of each cell.

    Args:
        mask: `(B, 1, H, W)` in `[0, 1]`.
        vae_scale_factor: Pixels per latent along one side, f.
        device: Device of the result.
        dtype: Dtype of the result.

    Returns:
        The mask as `(B, 1, H/f, W/f)`.
    """
    height, width = mask.shape[-2:]
    return F.interpolate(mask, size=(height // vae_scale_factor, width // vae_scale_factor)).to(device, dtype)


@contextmanager
def upcast_to_fp32(vae: Any, upcast: bool) -> Iterator[None]:
    """Let a VAE compute in fp32: that of SDXL overflows in fp16.

    Args:
        vae: An autoencoder of diffusers; its dtype is restored afterwards.
        upcast: Whether to change it at all.

    Yields:
        Nothing.
    """
    before = vae.dtype
    if not upcast or before == torch.float32:
        yield
        return
    vae.to(dtype=torch.float32)
    try:
        yield
    finally:
        vae.to(dtype=before)
