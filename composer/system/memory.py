"""Memory of the machine: peak use of a run, free memory, and errors that report that it ran out."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

#: Messages by which the C++ side of torch reports that memory ran out.
OUT_OF_MEMORY_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory")
#: Controller → root and files (limit, usage, statistics) of control groups: version 1, then version 2.
CGROUP_FILES = {
    "memory": ("/sys/fs/cgroup/memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")),
    "": ("/sys/fs/cgroup", ("memory.max", "memory.current", "memory.stat")),
}


def format_bytes(count: int) -> str:
    """Write a number of bytes with a unit.

    Args:
        count: Number of bytes.

    Returns:
        Such as `"2.50 GiB"` or `"340 MiB"`.
    """
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def peak_memory() -> int | None:
    """Measure the most memory that this process has used.

    Returns:
        Bytes allocated on all GPUs together if CUDA is available, else resident bytes; `None` on Windows.
    """
    import torch

    if torch.cuda.is_available():
        return sum(map(torch.cuda.max_memory_allocated, range(torch.cuda.device_count())))
    peak = _status("VmHWM").get("VmHWM")  # getrusage would count the parent's, if that had used more
    if peak is not None:
        return peak
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def free_memory(device: str | None = None) -> int | None:
    """Measure the memory that this process can still allocate.

    Args:
        device: Name of the device. `None` is the current GPU if CUDA is available, else the CPU.

    Returns:
        Bytes, within the limits of the process and its control groups; `None` if the system does not report them.
    """
    import torch

    if torch.cuda.is_available() and (device is None or device.startswith("cuda")):
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    bounds = [bound for bound in (_available(), _within_limits(), *_within_groups()) if bound is not None]
    return max(min(bounds), 0) if bounds else None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or a cause of it, reports that memory ran out.

    Args:
        error: The error.

    Returns:
        Whether it does, on the CPU or on a GPU.
    """
    causes: list[BaseException] = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    return any(
        type(cause).__name__ == "OutOfMemoryError" or isinstance(cause, MemoryError) or _reports_memory(cause)
        for cause in causes
    )


def fits_in_memory(times: int) -> bool:
    """Estimate whether a multiple of the work so far fits into memory.

    Args:
        times: The multiple; peak memory is assumed to grow with it.

    Returns:
        Whether it fits; `True` if the system does not report its memory.
    """
    free, peak = free_memory(), peak_memory()
    return free is None or peak is None or free > (times - 1) * peak


def _available() -> int | None:
    """Free memory of the machine."""
    lines = _lines("/proc/meminfo")
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), None)


def _within_limits() -> int | None:
    """Free memory within the limits of the process (`ulimit -v`, `ulimit -d`)."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    status = _status("Vm")
    kinds = {"VmSize": resource.RLIMIT_AS, "VmData": resource.RLIMIT_DATA}
    limits = {name: resource.getrlimit(kind)[0] for name, kind in kinds.items()}
    free = [
        limit - status[name] for name, limit in limits.items() if limit != resource.RLIM_INFINITY and name in status
    ]
    return min(free, default=None)


def _within_groups() -> list[int]:
    """Free memory within the limits of the control groups, as containers set them; cached files count as free."""
    free: list[int] = []
    for line in _lines("/proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers in CGROUP_FILES:
            root, names = CGROUP_FILES[controllers]
            folders = [
                folder for folder in (Path(root + path), *Path(root + path).parents) if str(folder).startswith(root)
            ]
            free.extend(amount for folder in folders for amount in _within_group(folder, names))
    return free


def _within_group(folder: Path, names: tuple[str, str, str]) -> Iterator[int]:
    """Free memory within one control group, if it has a limit."""
    limit, used, statistics = (folder / name for name in names)
    most = "".join(_lines(limit))
    if most.isdigit() and int(most) < 2**60:
        rows = [line.split() for line in _lines(statistics)]
        cached = sum(int(row[1]) for row in rows if row[0] in ("inactive_file", "active_file"))
        yield int(most) - int("".join(_lines(used)) or 0) + cached


def _status(*names: str) -> dict[str, int]:
    """Bytes by Linux's names of them; empty on other systems."""
    lines = [line for line in _lines("/proc/self/status") if line.startswith(names) and line.endswith(" kB")]
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}


def _lines(file: str | Path) -> list[str]:
    try:
        with open(file, "rb") as opened:
            return opened.read().decode().splitlines()
    except OSError:
        return []


def _reports_memory(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and any(message in str(error) for message in OUT_OF_MEMORY_MESSAGES)
