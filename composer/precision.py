"""precision=… and device=… → torch's own objects."""

from __future__ import annotations

import torch

from composer.errors import ComposerError

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def dtype_of(precision: str, device: torch.device) -> tuple[torch.dtype, str | None]:
    """The dtype to compute with, and a line for the user where it is not the one asked for.

    torch computes fp16 on CPUs, but almost without fast kernels: 14 to 20 times slower than fp32 where it was measured
    (benchmarks/cpu_precision.py), and it overflows just as on a GPU. fp32 holds every fp16 weight exactly.
    """
    if precision == "fp16" and device.type == "cpu":
        return torch.float32, "precision=fp16 is many times slower on a CPU than fp32: computing in fp32 (bf16 would halve the memory)"
    return DTYPES[precision], None


def device_of(name: str) -> torch.device:
    """Raises: ComposerError where this machine has no such device."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, available in there.items() if available)
    if not there[name]:
        raise ComposerError("device.type", name, "this machine has none", [kind for kind, available in there.items() if available])
    return torch.device(name)
