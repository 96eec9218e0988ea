"""IP-Adapters in denoisers of diffusers, which load them by private methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def load_into_unet(unet: Any, files: Sequence[Mapping[str, Mapping[str, Any]]]) -> None:
    """Add the layers of IP-Adapters to a UNet: projections of images, and processors of its cross-attention.

    Args:
        unet: The UNet.
        files: Tensors of each file, under ``image_proj`` and ``ip_adapter``.
    """
    unet._load_ip_adapter_weights([dict(file) for file in files])


def load_into_flux(transformer: Any, files: Sequence[Mapping[str, Mapping[str, Any]]]) -> None:
    """Add the layers of IP-Adapters to a transformer of Flux, likewise.

    Args:
        transformer: The transformer.
        files: Tensors of each file, under ``image_proj`` and ``ip_adapter``.
    """
    transformer._load_ip_adapter_weights([dict(file) for file in files])


def load_into_sd3(transformer: Any, files: Sequence[Mapping[str, Mapping[str, Any]]]) -> None:
    """Add the layers of an IP-Adapter to a transformer of Stable Diffusion 3, which takes one.

    Args:
        transformer: The transformer.
        files: Tensors of the file, under ``image_proj`` and ``ip_adapter``.
    """
    transformer._load_ip_adapter_weights(dict(files[0]))
