"""Pixels per latent along a side, and frames per latent, from the JSON settings of a VAE."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

#: Names of a pipeline's component that maps between pixels and latents.
VAES = ("vae", "vqvae", "vqgan", "movq")


def _stages(channels: Any) -> int:
    """One stage a list entry, of which all but the first halve the sides."""
    return 2 ** (len(channels) - 1)


#: Setting → the factor that it means; the first that a VAE has counts. diffusers' pipelines read the same settings.
_READERS: Mapping[str, Callable[[Any], int]] = {
    "spatial_compression_ratio": int,
    "scale_factor_spatial": int,
    "encoder_block_out_channels": _stages,
    "temperal_downsample": lambda downsamples: 2 ** len(downsamples),
    "block_out_channels": _stages,
}
#: Factor of a VAE without such a setting, which is that of Stable Diffusion's.
_DEFAULT = 8


def vae_scale_factor(configs: Mapping[str, Mapping[str, Any]], components: Mapping[str, str]) -> int:
    """Return the number of pixels per latent along a side.

    Args:
        configs: Component name → its JSON settings.
        components: Component name → class name.

    Returns:
        The factor; 1 without a VAE.
    """
    name = next(filter(components.__contains__, VAES), None)
    if name is None:
        return 1
    config = configs.get(name, {})
    if (stages := config.get("spatio_temporal_scaling")) and not config.get("spatial_compression_ratio"):
        return int(config.get("patch_size", 1)) * 2 ** sum(map(bool, stages))  # LTX-Video
    factors = (read(config[key]) for key, read in _READERS.items() if config.get(key) is not None)
    return next(factors, _DEFAULT)


def temporal_factor(config: Mapping[str, Any]) -> int:
    """Return the number of frames that a latent frame stands for.

    Args:
        config: Settings of the VAE.
    """
    stated = config.get("scale_factor_temporal") or config.get("temporal_compression_ratio")
    halvings = config.get("temperal_downsample") or config.get("spatio_temporal_scaling") or ()
    return int(stated or 2 ** sum(map(bool, halvings)))
