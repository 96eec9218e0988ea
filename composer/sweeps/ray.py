"""The same plan on Ray: workers generate batches, wherever they are; the driver alone writes. https://docs.ray.io

A worker is an actor with a device of its own. It keeps the models of the group that it works on; when a group has
nothing left,
it helps with another. A worker that dies costs the batch it had, which is generated again by a new one.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from composer.errors import ComposerError
from composer.sweeps.plan import Batch
from composer.sweeps.progress import Lines
from composer.sweeps.spec import RaySpec
from composer.sweeps.worker import JobFailure, JobOutput, Setup, Worker, silence_worker

#: Times that one batch may lose its worker before it counts as failed: it may be what kills them.
DEATHS = 2
#: Seconds that a cluster has to answer.
PATIENCE = 15


class Cluster:
    """An executor of as many workers as there are devices, or as were asked for.

    Raises:
        ComposerError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, spec: RaySpec, setup: Setup = silence_worker) -> None:
        if find_spec("ray") is None:
            raise ComposerError("hydra/launcher", "ray", "needs Ray: pip install 'diffusion-composer[ray]'")
        self.spec, self.setup = spec, setup
        self.idle: list[Any] = []
        self.groups: dict[Any, tuple[str, ...]] = {}
        self.working: dict[Any, tuple[Any, Batch]] = {}
        self.deaths: dict[Batch, int] = {}

    def __enter__(self) -> Cluster:
        import ray

        self._answers()
        local = {} if self.spec.address else {"include_dashboard": False}
        try:
            ray.init(
                address=self.spec.address, ignore_reinit_error=True, log_to_driver=False, logging_level="error", **local
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ComposerError(
                "ray.address", self.spec.address, f"no cluster answers there: {str(error).splitlines()[0]}"
            ) from None
        gpus = int(ray.cluster_resources().get("GPU", 0))
        cores = max(int(ray.cluster_resources().get("CPU", 1) // self.spec.num_cpus), 1)
        self.options = {"num_cpus": self.spec.num_cpus, "num_gpus": 1 if gpus else 0, "max_restarts": 0}
        self.idle = [self._hire() for _ in range(self.spec.workers or gpus or cores)]
        return self

    def _answers(self) -> None:
        """Whether a cluster lives at host:port; asked in a process that can be given up, since Ray itself tries for
        minutes.
        """
        address = self.spec.address or ""
        if not address.rpartition(":")[2].isdigit() or "://" in address:
            return
        command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
        try:
            answers = subprocess.run(command, capture_output=True, timeout=PATIENCE).returncode == 0
        except subprocess.TimeoutExpired:
            answers = False
        if not answers:
            raise ComposerError("ray.address", address, "no cluster answers there")

    def __exit__(self, *error: object) -> None:
        import ray

        for worker in (*self.idle, *(worker for worker, _ in self.working.values())):
            ray.kill(worker)
        ray.shutdown()

    @property
    def free(self) -> bool:
        return bool(self.idle)

    @property
    def busy(self) -> bool:
        return bool(self.working)

    @property
    def loaded(self) -> tuple[str, ...] | None:
        """What the worker that is next has loaded."""
        return self.groups.get(self.idle[-1]) if self.idle else None

    def start(self, batch: Batch, lines: Lines) -> None:
        worker = self.idle.pop()
        self.groups[worker] = batch.loads
        self.working[worker.draw.remote([entry.tree for entry in batch.entries])] = worker, batch

    def wait(self) -> tuple[Batch, list[JobOutput] | JobFailure]:
        import ray

        while True:
            (ready,), _ = ray.wait(list(self.working), num_returns=1)
            worker, batch = self.working.pop(ready)
            try:
                outcome = ray.get(ready)
            except ray.exceptions.RayError as error:
                self.groups.pop(worker, None)
                self.idle.append(self._hire())
                self.deaths[batch] = self.deaths.get(batch, 0) + 1
                if self.deaths[batch] < DEATHS:  # the same batch again: another might not give the same pixels
                    self.start(batch, None)
                    continue
                return batch, JobFailure(f"its worker died {DEATHS} times: {type(error).__name__}")
            self.idle.append(worker)
            return batch, JobFailure(*outcome) if isinstance(outcome, tuple) else outcome

    def _hire(self) -> Any:
        import ray

        return ray.remote(Remote).options(**self.options).remote(self.setup)


class Remote:
    """A worker on some machine of the cluster. It writes nothing."""

    def __init__(self, setup: Setup) -> None:
        setup(False)
        self.worker = Worker()

    def draw(self, trees: list[Mapping[str, Any]]) -> list[JobOutput] | tuple[str, bool, bool]:
        """What the batch made, or what a `Failed` is made of: errors with their frames stay here."""
        try:
            return self.worker.draw(trees)
        except JobFailure as failed:
            return failed.reason, failed.memory, failed.request
