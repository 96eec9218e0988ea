"""Functions of diffusers' pipeline modules that no documentation lists: composer calls them, so results stay equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def sample_latents(encoded: Any, generator: torch.Generator, sample: bool = True) -> Tensor:
    """Sample latents from an autoencoder's output, or take its latents where it has no distribution.

    Args:
        encoded: What the autoencoder's ``encode`` returned.
        generator: Generator of the sample.
        sample: Whether to sample; else the mode of the distribution is taken.

    Returns:
        Latents `(B, C, H/f, W/f)` in the scale of the VAE.
    """
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import retrieve_latents

    if hasattr(encoded, "latent"):  # AutoencoderDC's
        return encoded.latent
    return retrieve_latents(encoded, generator=generator, sample_mode="sample" if sample else "argmax")


def flux_shift(tokens: int, config: Mapping[str, Any]) -> float:
    """Return the shift of Flux's timesteps for a size of the image.

    Args:
        tokens: Number of latent tokens.
        config: Settings of the scheduler.
    """
    from diffusers.pipelines.flux.pipeline_flux import calculate_shift

    return calculate_shift(tokens, *_shift_range(config, 1.15))


def sd3_shift(tokens: int, config: Mapping[str, Any]) -> float:
    """Return the shift of SD3's timesteps for a size of the image.

    Args:
        tokens: Number of latent tokens.
        config: Settings of the scheduler.
    """
    from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import calculate_shift

    return calculate_shift(tokens, *_shift_range(config, 1.16))


def flux2_shift(tokens: int, steps: int) -> float:
    """Return the shift of FLUX.2's timesteps for a size of the image.

    Args:
        tokens: Number of latent tokens.
        steps: Number of steps.
    """
    from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

    return compute_empirical_mu(tokens, steps)


def kontext_sizes() -> list[tuple[int, int]]:
    """Return the widths and heights in pixels that FLUX.1 Kontext was trained with."""
    from diffusers.pipelines.flux.pipeline_flux_kontext import PREFERRED_KONTEXT_RESOLUTIONS

    return PREFERRED_KONTEXT_RESOLUTIONS


def qwen_sizes(pipe: Any, width: int, height: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the sizes to which Qwen-Image-Edit scales a reference, for its text encoder and for its VAE.

    Args:
        pipe: A pipeline of Qwen-Image-Edit, whose first version has one size for both.
        width: Width of the reference in pixels.
        height: Height of the reference in pixels.

    Returns:
        Width and height in pixels of both.
    """
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as module

    is_plus = isinstance(pipe, module.QwenImageEditPlusPipeline)
    read, encoded = (
        module.calculate_dimensions(area, width / height)
        for area in (module.CONDITION_IMAGE_SIZE if is_plus else module.VAE_IMAGE_SIZE, module.VAE_IMAGE_SIZE)
    )
    return read, encoded


def pack_ltx(pipe: Any, latents: Tensor) -> Tensor:
    """Pack LTX-Video's latents: patches become tokens.

    Args:
        pipe: An LTX pipeline.
        latents: `(B, C, F, h, w)`.

    Returns:
        `(B, F · h · w, C)`, for patches of one latent.
    """
    return pipe._pack_latents(latents, pipe.transformer_spatial_patch_size, pipe.transformer_temporal_patch_size)


def unpack_ltx(pipe: Any, latents: Tensor, frames: int, rows: int, columns: int) -> Tensor:
    """Undo `pack_ltx`.

    Args:
        pipe: An LTX pipeline.
        latents: `(B, F · h · w, C)`.
        frames: Latent frames, F.
        rows: Rows of latents, h.
        columns: Columns of latents, w.

    Returns:
        `(B, C, F, h, w)`.
    """
    patches = pipe.transformer_spatial_patch_size, pipe.transformer_temporal_patch_size
    return pipe._unpack_latents(latents, frames, rows, columns, *patches)


def wan_hidden(pipe: Any, texts: list[str], length: int, device: Any) -> Tensor:
    """Encode texts as Wan's pipelines do, by the function of the one that does not insist on ftfy.

    Args:
        pipe: A Wan pipeline.
        texts: Prompts.
        length: Number of tokens.
        device: Device of the result.

    Returns:
        Hidden states `(B, length, width)`, zero beyond each text.
    """
    from diffusers.pipelines.wan.pipeline_wan import WanPipeline

    return WanPipeline._get_t5_prompt_embeds(pipe, texts, 1, length, device)


def _shift_range(config: Mapping[str, Any], max_shift: float) -> tuple[Any, Any, Any, Any]:
    """Settings of the scheduler, with the defaults of diffusers' pipelines."""
    return (
        config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096),
        config.get("base_shift", 0.5), config.get("max_shift", max_shift),
    )  # fmt: skip


def pack_flux(pipe: Any, latents: Tensor) -> Tensor:
    """Pack Flux's latents: patches of 2 × 2 become channels of tokens.

    Args:
        pipe: A Flux pipeline.
        latents: `(B, C, H/f, W/f)`.

    Returns:
        `(B, H/2f · W/2f, 4C)`.
    """
    return pipe._pack_latents(latents, *latents.shape)


def unpack_flux(pipe: Any, latents: Tensor, height: int, width: int) -> Tensor:
    """Undo `pack_flux`.

    Args:
        pipe: A Flux pipeline.
        latents: `(B, H/2f · W/2f, 4C)`.
        height: Height in pixels.
        width: Width in pixels.

    Returns:
        `(B, C, H/f, W/f)`.
    """
    return pipe._unpack_latents(latents, height, width, pipe.vae_scale_factor)


def flux_image_ids(pipe: Any, batch: int, rows: int, columns: int, device: Any, dtype: torch.dtype) -> Tensor:
    """Return the positions of Flux's latent tokens, which its transformer embeds.

    Args:
        pipe: A Flux pipeline.
        batch: Number of images.
        rows: Rows of tokens.
        columns: Columns of tokens.
        device: Device of the result.
        dtype: Dtype of the result.

    Returns:
        `(rows · columns, 3)`.
    """
    return pipe._prepare_latent_image_ids(batch, rows, columns, device, dtype)
