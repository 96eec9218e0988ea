"""Where batches run: in this process, one after the other. `ray` implements the same protocol for many machines."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

from composer.sweeps.plan import Batch
from composer.sweeps.progress import JobProgress, SweepProgress
from composer.sweeps.worker import JobFailure, JobOutput, Worker
from composer.system import console


class Executor(Protocol):
    """Runner of batches, as a driver uses it: a context manager that takes batches and returns their outcomes."""

    @property
    def free(self) -> bool:
        """Whether another batch can be started."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a batch is running."""
        ...

    @property
    def loaded(self) -> tuple[str, ...] | None:
        """The group whose models the next batch should use, see `Batch.loads`."""
        ...

    def start(self, batch: Batch, progress: SweepProgress) -> None:
        """Start a batch.

        Args:
            batch: Jobs to run.
            progress: Where the steps of the jobs are shown, if they run in this process.
        """
        ...

    def wait(self) -> tuple[Batch, list[JobOutput] | JobFailure]:
        """Wait for the next batch to end.

        Returns:
            The batch, and the output of each job or the failure of the batch.
        """
        ...

    def __enter__(self) -> Executor: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class LocalExecutor:
    """Executor in this process; a batch runs while the driver waits for it.

    Args:
        worker: Generator of the batches.
    """

    loaded: tuple[str, ...] | None = None

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._started: tuple[Batch, SweepProgress] | None = None

    @property
    def free(self) -> bool:
        """Whether no batch is started."""
        return self._started is None

    @property
    def busy(self) -> bool:
        """Whether a batch is started."""
        return self._started is not None

    def start(self, batch: Batch, progress: SweepProgress) -> None:
        """Take a batch, which `wait` runs.

        Args:
            batch: Jobs to run.
            progress: Where their steps are shown.
        """
        self._started, self.loaded = (batch, progress), batch.loads

    def wait(self) -> tuple[Batch, list[JobOutput] | JobFailure]:
        """Run the batch that was started.

        Returns:
            The batch, and the output of each job or the failure of the batch.

        Raises:
            RuntimeError: No batch was started.
        """
        if self._started is None:
            raise RuntimeError("no batch was started")
        (batch, progress), self._started = self._started, None
        more = len(batch.entries) - 1
        jobs = f"job {batch.entries[0].job.number}" + (f" and {more} more" if more else "")
        console.output_mode.run = jobs
        callbacks = [] if progress.bar.disable else [JobProgress(progress, jobs)]
        checked = [entry.checked or entry.tree for entry in batch.entries]
        try:
            return batch, self.worker.generate(checked, callbacks, batch.may_grow)
        except JobFailure as failure:
            return batch, failure

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
