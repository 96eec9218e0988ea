"""Worker processes of a service: one a device, started again when one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from composer.server.logs import note
from composer.server.process_ends import oom_kills

#: Seconds between two looks at the workers, and the longest pause before one that ends at once is started again.
LOOK_SECONDS, LONGEST_PAUSE = 0.1, 30.0
#: A worker that ran for so many seconds did not end at once.
LONG_LIFE = 60.0


def count_devices() -> int:
    """Count the GPUs, without loading torch where there is no driver.

    Returns:
        Their number; 0 without CUDA.
    """
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        return 0
    import torch

    return torch.cuda.device_count()


class Supervisor:
    """Keeps the workers running.

    Args:
        folder: Directory of the service.
        workers: Number of workers; 0 for one a device.
        log: Form of the logs; with `json` those of the workers go to stderr too, and else to files.
    """

    def __init__(self, folder: Path, workers: int, log: str = "text") -> None:
        self.folder, self.log = folder, log
        self.devices = count_devices()
        self.workers = workers or max(1, self.devices)
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.starts = dict.fromkeys(range(self.workers), 0)
        self.short_lives = dict.fromkeys(range(self.workers), 0)
        self.began: dict[int, tuple[float, int]] = {}  # time of the last start, and the kernel's count of kills then
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Start the workers and watch them."""
        for worker in range(self.workers):
            self._start(worker)
        self.thread.start()

    def _start(self, worker: int, ended: int | None = None) -> None:
        """Start a worker with how the one before ended, which only a server that lives can know."""
        before = [] if ended is None else [str(ended), str(oom_kills() > self.began[worker][1])]
        environment = dict(os.environ)
        if self.devices > 1:
            environment["CUDA_VISIBLE_DEVICES"] = str(worker % self.devices)
        self.starts[worker] += 1
        note("worker started", worker=worker, start=self.starts[worker])
        with (self.folder / f"worker-{worker}.log").open("ab") as log:
            self.processes[worker] = subprocess.Popen(
                [sys.executable, "-m", "composer.cli.serve_worker", str(self.folder), str(worker), self.log, *before],
                stdin=subprocess.PIPE, stdout=log, stderr=None if self.log == "json" else log, env=environment,
            )  # fmt: skip
        self.began[worker] = time.monotonic(), oom_kills()

    def _watch(self) -> None:
        ended: dict[int, float] = {}
        while not self.stopping.wait(LOOK_SECONDS):
            for worker, process in self.processes.items():
                if process.poll() is None:
                    continue
                if worker not in ended:
                    ended[worker] = time.monotonic()
                    is_short = ended[worker] - self.began[worker][0] < LONG_LIFE
                    self.short_lives[worker] = self.short_lives[worker] + 1 if is_short else 0
                    note("worker ended", worker=worker, code=process.returncode)
                if time.monotonic() - ended[worker] >= min(LONGEST_PAUSE, 0.2 * self.short_lives[worker]):
                    del ended[worker]
                    self._start(worker, process.returncode)

    def alive(self) -> int:
        """Count the workers that run."""
        return sum(process.poll() is None for process in self.processes.values())

    def stop(self, grace: float) -> None:
        """Let the workers finish what they are at, and end those that take longer; their jobs wait for the next start.

        Args:
            grace: Seconds.
        """
        self.stopping.set()
        if self.thread.is_alive():
            self.thread.join()
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        until = time.monotonic() + grace
        for process in self.processes.values():
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()
