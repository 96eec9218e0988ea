"""Executor on Ray: workers on any number of machines generate batches, and the driver alone writes files.

A worker is an actor with a device of its own. It keeps the models of the group that it works on; when a group has no
jobs left, it helps with another. If a worker dies, a new one runs its batch again. https://docs.ray.io
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from types import TracebackType
from typing import Any

from composer.errors import ComposerError
from composer.sweeps.plan import Batch
from composer.sweeps.progress import SweepProgress
from composer.sweeps.spec import RaySpec
from composer.sweeps.worker import JobFailure, JobOutput, Setup, Worker, silence_worker

#: Number of workers that die on one batch before the batch counts as failed: it may be the cause.
MAX_DEATHS = 2
#: Seconds that a cluster has to respond to a health check.
HEALTH_CHECK_SECONDS = 15


class Cluster:
    """Executor with one worker per device, or as many as requested.

    Args:
        spec: Address of the cluster, and number and size of the workers.
        setup: Configures the process of each worker.

    Raises:
        ComposerError: Ray is not installed; on entering the context, no cluster responds at the address.
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

        self._check_health()
        local: dict[str, Any] = {} if self.spec.address else {"include_dashboard": False}
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}  # Ray's annotation lacks names
        try:
            ray.init(address=self.spec.address, ignore_reinit_error=True, **quiet, **local)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ComposerError(
                "ray.address", self.spec.address, f"no cluster responds there: {str(error).splitlines()[0]}"
            ) from None
        gpus = int(ray.cluster_resources().get("GPU", 0))
        cores = max(int(ray.cluster_resources().get("CPU", 1) // self.spec.num_cpus), 1)
        self.options = {"num_cpus": self.spec.num_cpus, "num_gpus": 1 if gpus else 0, "max_restarts": 0}
        self.idle = [self._start_worker() for _ in range(self.spec.workers or gpus or cores)]
        return self

    def _check_health(self) -> None:
        """Require a cluster at host:port; in a subprocess with a time limit, since Ray itself retries for minutes."""
        address = self.spec.address or ""
        if not address.rpartition(":")[2].isdigit() or "://" in address:
            return
        command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
        try:
            responds = subprocess.run(command, capture_output=True, timeout=HEALTH_CHECK_SECONDS).returncode == 0
        except subprocess.TimeoutExpired:
            responds = False
        if not responds:
            raise ComposerError("ray.address", address, "no cluster responds there")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import ray

        for worker in (*self.idle, *(worker for worker, _ in self.working.values())):
            ray.kill(worker)
        ray.shutdown()

    @property
    def free(self) -> bool:
        """Whether a worker is idle."""
        return bool(self.idle)

    @property
    def busy(self) -> bool:
        """Whether a batch is running."""
        return bool(self.working)

    @property
    def loaded(self) -> tuple[str, ...] | None:
        """The group whose models the next worker has loaded."""
        return self.groups.get(self.idle[-1]) if self.idle else None

    def start(self, batch: Batch, progress: SweepProgress | None = None) -> None:
        """Send a batch to an idle worker.

        Args:
            batch: Jobs to run.
            progress: Unused; steps on other machines are not shown.
        """
        worker = self.idle.pop()
        self.groups[worker] = batch.loads
        self.working[worker.generate.remote([entry.tree for entry in batch.entries], batch.may_grow)] = worker, batch

    def wait(self) -> tuple[Batch, list[JobOutput] | JobFailure]:
        """Wait for the next batch to end; a batch whose worker died runs once more.

        Returns:
            The batch, and the output of each job or the failure of the batch.
        """
        import ray
        from ray.exceptions import RayError

        while True:
            (ready,), _ = ray.wait(list(self.working), num_returns=1)
            worker, batch = self.working.pop(ready)
            try:
                outcome = ray.get(ready)
            except RayError as error:
                self.groups.pop(worker, None)
                self.idle.append(self._start_worker())
                self.deaths[batch] = self.deaths.get(batch, 0) + 1
                if self.deaths[batch] < MAX_DEATHS:  # the same batch: one of other members could give other pixels
                    self.start(batch)
                    continue
                return batch, JobFailure(f"its worker died {MAX_DEATHS} times: {type(error).__name__}")
            self.idle.append(worker)
            return batch, JobFailure(*outcome) if isinstance(outcome, tuple) else outcome

    def _start_worker(self) -> Any:
        import ray

        return ray.remote(Remote).options(**self.options).remote(self.setup)


class Remote:
    """Worker on a machine of the cluster. It writes no files.

    Args:
        setup: Configures the process of the worker.
    """

    def __init__(self, setup: Setup) -> None:
        setup(False)
        self.worker = Worker()

    def generate(self, trees: list[Mapping[str, Any]], may_grow: bool) -> list[JobOutput] | tuple[str, bool, bool]:
        """Generate a batch.

        Args:
            trees: Config of each job as plain data.
            may_grow: Whether to measure if memory suffices for a larger batch.

        Returns:
            The output of each job, or the arguments of a `JobFailure`; the exception itself stays on this machine.
        """
        try:
            return self.worker.generate(trees, may_grow=may_grow)
        except JobFailure as failure:
            return failure.reason, failure.memory, failure.request
