"""Which processor computes: the last bits of a float sum depend on it, even under the same libraries."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CPU_INFO = Path("/proc/cpuinfo")


def processor_name(device: torch.device) -> str:
    """Name the processor behind a device.

    Args:
        device: Device that the models compute on.

    Returns:
        The GPU's name; for a CPU its name and the vector instructions that torch uses on it, such as ``AMD EPYC,
        AVX512``.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{cpu_name()}, {torch.backends.cpu.get_cpu_capability()}"


@cache
def cpu_name() -> str:
    """Name the CPU without importing torch.

    Returns:
        The name that Linux gives it, with its family and model, as virtual machines often shorten the name.
    """
    try:
        lines = CPU_INFO.read_text("utf-8").split("\n\n", 1)[0].splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name, family, model = (facts.get(key) for key in ("model name", "cpu family", "model"))
    return f"{name} ({family}/{model})" if name and family else platform.machine()
