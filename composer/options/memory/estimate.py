"""Estimate of a run's memory, from the headers of its files and the sizes in its configs.

The factors were measured and rounded up by a fifth: decoding with Stable Diffusion's VAE holds 967 to 1,181 values per
pixel, 9 times the channels of its outermost block; its UNet holds 20 to 45 times the channels of its first block per
latent (``benchmarks/memory.py``). HunyuanVideo's VAE holds 12 values per pixel, frame and channel of its outermost
block; Wan's, which decodes 4 frames at a time, 33; Stable Audio's 9.7 per sample and channel (9 to 21 frames of 128 to
256 pixels a side, 19 s of sound).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.headers import count_weights
from composer.checkpoints.latent_scale import temporal_factor
from composer.checks.compatibility import Checked
from composer.checks.signatures import vae_tile
from composer.loading.precision import DtypePlan

#: Numbers held for each pixel and outermost channel while a VAE decodes; for each latent and first channel while a
#: UNet predicts; for each token and inner channel of a transformer.
VAE, UNET, TRANSFORMER = 9.5, 45, 24
#: The same for each pixel of all frames of a clip; of those that a VAE decodes at a time, where it does; and for each
#: sample of a sound.
VIDEO_VAE, STREAMING_VAE, SOUND_VAE = 14.5, 40, 11.5
#: VAEs that decode one latent frame after the other, with what they need of the earlier ones.
STREAMING = ("AutoencoderKLWan", "AutoencoderKLQwenImage")
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
    height, width = map(max, zip(*request.sizes, strict=True))
    batch = checked.at_once if batch is None else batch
    decoded = 1 if sliced else batch
    controls = control_bytes(checked, dtypes)
    decoding = _decoding(checked, dtypes, decoded, height, width, tiled) if "vae" in checkpoint.classes else 0
    return Estimate(
        weights=weights(checked, dtypes),
        denoising=_denoising(checked, dtypes, batch, height, width) + controls,
        decoding=decoding + controls,
    )


def control_bytes(checked: Checked, dtypes: DtypePlan) -> int:
    """Return the bytes of the control models' weights, which no option offloads.

    Args:
        checked: The checked settings.
        dtypes: Compute and storage dtype of each component.
    """
    size = dtypes.of(checked.checkpoint.family_info.denoiser[0]).itemsize
    return sum(sum(count_weights(model.files).values()) for model in checked.controls.values()) * size


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
    checkpoint = checked.checkpoint
    config = checkpoint.configs.get("vae", {})
    if config.get("sampling_rate"):
        return (
            int(batch * _samples(checked) * config.get("decoder_channels", 128) * SOUND_VAE) * dtypes.of("vae").itemsize
        )
    channels, tile = config.get("base_dim") or config.get("block_out_channels", (128,))[0], tile_of(checkpoint)
    frames = _frames(checked)
    pixels, more = height * width, 1.0
    if tiled and max(height, width) > tile:
        pixels, more = min(pixels, tile * tile), TILED
    # tiles are kept until all are decoded, and so are all frames of a clip
    images = 3 * height * width * frames * (tiled + (tiled or frames > 1))
    return int(batch * (pixels * channels * _held(checked, frames) * more + images) * dtypes.of("vae").itemsize)


def _held(checked: Checked, frames: int) -> float:
    """Values held for each pixel of a frame and outermost channel while the VAE decodes."""
    if frames == 1:
        return VAE
    if checked.checkpoint.classes.get("vae") in STREAMING:
        return STREAMING_VAE * min(frames, temporal_factor(checked.checkpoint.configs.get("vae", {})))
    return VIDEO_VAE * frames


def _frames(checked: Checked) -> int:
    """Frames of each clip; 1 for images."""
    return checked.request.inputs.get("frames") or 1


def _samples(checked: Checked) -> int:
    """Samples of each sound in one channel, 30 seconds if only the model knows the length."""
    rate = checked.checkpoint.configs.get("vae", {}).get("sampling_rate", 44100)
    return int((checked.request.inputs.get("seconds") or 30) * rate)


def tile_of(checkpoint: Checkpoint) -> int:
    """Return the side of the tiles of a checkpoint's VAE in pixels; the shorter one.

    Args:
        checkpoint: The checkpoint.
    """
    fixed = vae_tile(checkpoint.classes.get("vae", ""))
    if fixed is not None:
        return fixed
    config = checkpoint.configs.get("vae", {})
    if "sample_height" in config:  # CogVideoX
        return min(config["sample_height"], config["sample_width"]) // 2
    size = config.get("sample_size", 512)
    return max(size) if isinstance(size, (list, tuple)) else int(size)


def _denoising(checked: Checked, dtypes: DtypePlan, batch: int, height: int, width: int) -> int:
    checkpoint = checked.checkpoint
    name, config = checkpoint.family_info.denoiser[0], checkpoint.denoiser
    vae = checkpoint.configs.get("vae", {})
    latents = height * width // checkpoint.vae_scale_factor**2
    latents *= -(-(_frames(checked) - 1) // temporal_factor(vae)) + 1
    if vae.get("sampling_rate"):
        latents = (
            4 * _samples(checked) // prod(vae.get("downsampling_ratios", (2048,)))
        )  # one token each, not a quarter
    both = 2 * batch  # with and without the prompt
    channels = config.get("block_out_channels", (0,))[0]
    if channels:
        return int(both * latents * channels * UNET * dtypes.of(name).itemsize)
    inner = config.get("num_attention_heads", 24) * config.get("attention_head_dim", 64)
    return int(both * latents / 4 * inner * TRANSFORMER * dtypes.of(name).itemsize)
