"""Why a worker process ended: by itself, for which its job may be the reason, or killed from outside."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from pathlib import Path

#: Signals that only others send. The kernel's SIGKILL for want of memory is known by its count.
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: Files in which Linux counts the processes that it killed for want of memory.
_COUNTERS = ("/proc/vmstat", "/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


@dataclass(frozen=True)
class ProcessEnd:
    """How a worker ended while its server looked on.

    Attributes:
        by_itself: Whether nobody else ended it.
        reason: How, in a few words, such as `SIGSEGV`.
    """

    by_itself: bool
    reason: str


def end_of(returncode: int, memory_ran_out: bool) -> ProcessEnd:
    """Say how a process ended.

    Args:
        returncode: As `subprocess` has it: negative for a signal.
        memory_ran_out: Whether the kernel has killed a process for want of memory while this one ran.
    """
    if returncode >= 0:
        return ProcessEnd(True, f"exit code {returncode}")
    name = signal.Signals(-returncode).name if -returncode in set(signal.Signals) else f"signal {-returncode}"
    if returncode == -signal.SIGKILL and memory_ran_out:
        return ProcessEnd(True, "SIGKILL of the kernel for want of memory")
    return ProcessEnd(-returncode not in FROM_OUTSIDE, name)


def oom_kills() -> int:
    """Count the processes that the kernel has killed for want of memory; 0 where it does not say."""
    count = 0
    for path in map(Path, _COUNTERS):
        try:
            match = re.search(r"^oom_kill (\d+)$", path.read_text(), re.MULTILINE)
        except OSError:
            continue
        count += int(match[1]) if match else 0
    return count
