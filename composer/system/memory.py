"""What a run takes of the machine."""

from __future__ import annotations

import platform
from pathlib import Path

#: How the C++ side of torch says that memory ran out.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
#: Where the first and the second version of control groups keep limit, usage and statistics of memory.
GROUPS = {
    "memory": ("/sys/fs/cgroup/memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")),
    "": ("/sys/fs/cgroup", ("memory.max", "memory.current", "memory.stat")),
}


def size(count: int) -> str:
    """Bytes, in the unit that leaves few digits."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def peak_memory() -> int | None:
    """Most bytes this process has held: on the GPU where there is one, else resident."""
    import torch

    if torch.cuda.is_available():
        return sum(map(torch.cuda.max_memory_allocated, range(torch.cuda.device_count())))
    own = _status().get("VmHWM")  # what getrusage tells is the parent's, where that had held more
    if own is not None:
        return own
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def free_memory(device: str | None = None) -> int | None:
    """Bytes that can still be had: of the GPU where that is the device (None: where there is one), else by this
    process; None where
    the system does not tell."""
    import torch

    if torch.cuda.is_available() and (device is None or device.startswith("cuda")):
        return (
            torch.cuda.mem_get_info(device)[0]
            + torch.cuda.memory_reserved(device)
            - torch.cuda.memory_allocated(device)
        )
    found = [each for each in (_available(), _within_limits(), *_within_groups()) if each is not None]
    return max(min(found), 0) if found else None


def _available() -> int | None:
    """Of the machine."""
    lines = _lines("/proc/meminfo")
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), None)


def _within_limits() -> int | None:
    """Up to the limits that were set for this process (`ulimit -v`, `ulimit -d`)."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    status = _status()
    limits = {"VmSize": resource.RLIMIT_AS, "VmData": resource.RLIMIT_DATA}
    asked = {name: resource.getrlimit(kind)[0] for name, kind in limits.items()}
    room = [most - status[name] for name, most in asked.items() if most != resource.RLIM_INFINITY and name in status]
    return min(room, default=None)


def _within_groups() -> list[int]:
    """Up to the limits of the control groups that this process is in, as containers set them; files in memory count as
    free.
    """
    room = []
    for line in _lines("/proc/self/cgroup"):
        _, kinds, place = line.split(":", 2)
        if kinds not in ("", "memory"):
            continue
        root, names = GROUPS[kinds]
        for folder in (Path(root + place), *Path(root + place).parents):
            limit, used, stat = (folder / name for name in names)
            if str(folder).startswith(root) and limit.is_file():
                most = "".join(_lines(limit))
                if most.isdigit() and int(most) < 2**60:
                    files = sum(
                        int(each.split()[1])
                        for each in _lines(stat)
                        if each.split()[0] in ("inactive_file", "active_file")
                    )
                    room.append(int(most) - int("".join(_lines(used)) or 0) + files)
    return room


def _status() -> dict[str, int]:
    """Bytes by the names that Linux gives them; empty elsewhere."""
    return {
        line.split(":")[0]: int(line.split()[1]) * 1024 for line in _lines("/proc/self/status") if line.endswith(" kB")
    }


def _lines(file: str | Path) -> list[str]:
    try:
        return Path(file).read_text().splitlines()
    except OSError:
        return []


def ran_out(error: BaseException) -> bool:
    """Whether an error, or one that it came from, says that memory ran out."""
    causes: list[BaseException] = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    return any(
        type(each).__name__ == "OutOfMemoryError" or isinstance(each, MemoryError) or _says_memory(each)
        for each in causes
    )


def _says_memory(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def has_room(times: int) -> bool:
    """Whether so many times the work fits into memory, if all that was ever held grows with it."""
    free, peak = free_memory(), peak_memory()
    return free is None or peak is None or free > (times - 1) * peak
