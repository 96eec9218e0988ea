"""The first noise of a batch, a generator an image."""

from __future__ import annotations

import torch
from torch import Tensor


def noise(
    shape: tuple[int, ...], generators: tuple[torch.Generator, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Standard normal noise, row i from generator i on the CPU, so that no device changes an image's seed."""
    rows = [torch.randn((1, *shape[1:]), generator=each, dtype=dtype) for each in generators]
    return torch.cat(rows).to(device)
