"""What a run takes of the machine."""

from __future__ import annotations

import platform


def peak_memory() -> int | None:
    """Most bytes this process has held: on the GPU where there is one, else resident."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def free_memory() -> int | None:
    """Bytes that can still be had: on the GPU where there is one, else of the machine; None where the system does not tell."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None


def has_room(times: int) -> bool:
    """Whether so many times the work fits into memory, if all that was ever held grows with it."""
    free, peak = free_memory(), peak_memory()
    return free is None or peak is None or free > (times - 1) * peak
