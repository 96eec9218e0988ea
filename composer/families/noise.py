"""The first noise of a batch, one generator an image."""

from __future__ import annotations

import torch
from torch import Tensor


def batch_noise(
    shape: tuple[int, ...], generators: tuple[torch.Generator, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Sample standard normal noise on the CPU, so that a seed gives the same image on every device.

    Args:
        shape: Shape of the batch; its first entry is the number of generators.
        generators: One CPU generator an image.
        dtype: Dtype to sample in.
        device: Device that the noise is moved to.

    Returns:
        Noise of `shape`; row i comes from generator i.
    """
    rows = [torch.randn((1, *shape[1:]), generator=generator, dtype=dtype) for generator in generators]
    return torch.cat(rows).to(device)
