"""Estimate of a run's memory, from the headers of its files and the sizes in its configs.

The factors were measured and rounded up by a fifth: decoding with Stable Diffusion's VAE holds 967 to 1,181 values per
pixel, 9 times the channels of its outermost block; its UNet holds 20 to 45 times the channels of its first block per
latent (``benchmarks/memory.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from composer.checkpoints.headers import count_weights
from composer.checks.compatibility import Checked
from composer.loading.precision import DtypePlan

#: Numbers held for each pixel and outermost channel while a VAE decodes; for each latent and first channel while a UNet
#: predicts; for
#: each token and inner channel of a transformer.
VAE, UNET, TRANSFORMER = 9.5, 45, 24
#: Tiles overlap, and their images are put together.
TILED = 1.2


@dataclass(frozen=True)
class Estimate:
    """Memory of a run in bytes.

    Attributes:
        weights: Component → bytes of its weights.
        denoising: Bytes besides the weights while denoising.
        decoding: Bytes besides the weights while decoding.
    """

    weights: Mapping[str, int]
    denoising: int
    decoding: int

    @property
    def total(self) -> int:
        """Bytes of the weights and of the larger pass."""
        return sum(self.weights.values()) + self.working

    @property
    def largest(self) -> int:
        """Bytes of the largest component's weights."""
        return max(self.weights.values(), default=0)

    @property
    def working(self) -> int:
        """Largest number of bytes besides the weights: denoising and decoding follow each other."""
        return max(self.denoising, self.decoding)


def estimate(
    checked: Checked, dtypes: DtypePlan, batch: int | None = None, sliced: bool = False, tiled: bool = False
) -> Estimate:
    """Estimate the memory of a run.

    Args:
        checked: The checked settings.
        dtypes: Compute and storage dtype of each component.
        batch: Images in a batch; None for the configured number.
        sliced: Whether the VAE decodes image by image.
        tiled: Whether the VAE decodes in tiles.
    """
    request, checkpoint = checked.request, checked.checkpoint
    second = request.inputs.get("second") or {}  # a pass that generates larger
    height, width = max(request.height, second.get("height", 0)), max(request.width, second.get("width", 0))
    batch = checked.at_once if batch is None else batch
    return Estimate(
        weights=weights(checked, dtypes),
        denoising=_denoising(checked, dtypes, batch, height, width),
        decoding=_decoding(checked, dtypes, 1 if sliced else batch, height, width, tiled)
        if "vae" in checkpoint.classes
        else 0,
    )


def weights(checked: Checked, dtypes: DtypePlan) -> dict[str, int]:
    """Return the bytes of each component's weights as they are stored in memory.

    Args:
        checked: The checked settings.
        dtypes: Compute and storage dtype of each component.

    Returns:
        Component → bytes; a single file counts as the component ``checkpoint``.
    """
    checkpoint = checked.checkpoint
    if checkpoint.single_file:
        return {"checkpoint": sum(count_weights([checkpoint.path]).values()) * dtypes.default.itemsize}
    counts = {name: sum(count_weights(checkpoint.files(name)).values()) for name in checkpoint.classes}
    return {name: int(count * dtypes.size(name)) for name, count in counts.items() if count}


def _decoding(checked: Checked, dtypes: DtypePlan, batch: int, height: int, width: int, tiled: bool) -> int:
    config = checked.checkpoint.configs.get("vae", {})
    channels, tile = config.get("block_out_channels", (128,))[0], tile_of(config)
    pixels, more = height * width, 1.0
    if tiled and max(height, width) > tile:
        pixels, more = min(pixels, tile * tile), TILED
    images = 3 * height * width * (2 if tiled else 0)  # tiles are kept until all are decoded
    return int(batch * (pixels * channels * VAE * more + images) * dtypes.of("vae").itemsize)


def tile_of(config: Mapping[str, Any]) -> int:
    """Return the side of a VAE's tiles in pixels.

    Args:
        config: Settings of the VAE.
    """
    size = config.get("sample_size", 512)
    return max(size) if isinstance(size, (list, tuple)) else int(size)


def _denoising(checked: Checked, dtypes: DtypePlan, batch: int, height: int, width: int) -> int:
    checkpoint = checked.checkpoint
    name, config = checkpoint.family_info.denoiser[0], checkpoint.denoiser
    latents = height * width // checkpoint.vae_scale_factor**2
    both = 2 * batch  # with and without the prompt
    channels = config.get("block_out_channels", (0,))[0]
    if channels:
        return int(both * latents * channels * UNET * dtypes.of(name).itemsize)
    inner = config.get("num_attention_heads", 24) * config.get("attention_head_dim", 64)
    return int(both * latents / 4 * inner * TRANSFORMER * dtypes.of(name).itemsize)
