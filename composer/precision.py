"""precision=… and device=… → torch's own objects."""

from __future__ import annotations

import torch

from composer.errors import ComposerError

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def device_of(name: str) -> torch.device:
    """Raises: ComposerError where this machine has no such device."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, available in there.items() if available)
    if not there[name]:
        raise ComposerError("device.type", name, "this machine has none", [kind for kind, available in there.items() if available])
    return torch.device(name)
