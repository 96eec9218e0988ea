"""IP-Adapters in a UNet of diffusers, which loads them by private methods."""

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
