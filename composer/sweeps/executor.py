"""Where batches are generated: in this process, one after the other. `ray` has the same four words for many machines."""

from __future__ import annotations

from typing import Protocol

from composer.sweeps.plan import Batch
from composer.sweeps.progress import JobLine, Lines
from composer.sweeps.worker import JobFailure, JobOutput, Worker
from composer.system import console


class Executor(Protocol):
    """What a driver asks of it; a context manager."""

    @property
    def free(self) -> bool:
        """Whether another batch can be started."""

    @property
    def busy(self) -> bool:
        """Whether a batch is under way."""

    @property
    def loaded(self) -> tuple[str, ...] | None:
        """The group whose models the next batch should use."""

    def start(self, batch: Batch, lines: Lines) -> None:
        """Take a batch on."""

    def wait(self) -> tuple[Batch, list[JobOutput] | JobFailure]:
        """The next batch that is through."""

    def __enter__(self) -> Executor: ...

    def __exit__(self, *error: object) -> None: ...


class LocalExecutor:
    """This process: a batch is generated when it is waited for."""

    loaded: tuple[str, ...] | None = None

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.taken: tuple[Batch, Lines] | None = None

    @property
    def free(self) -> bool:
        return self.taken is None

    @property
    def busy(self) -> bool:
        return self.taken is not None

    def start(self, batch: Batch, lines: Lines) -> None:
        self.taken, self.loaded = (batch, lines), batch.loads

    def wait(self) -> tuple[Batch, list[JobOutput] | JobFailure]:
        (batch, lines), self.taken = self.taken, None
        more = len(batch.entries) - 1
        jobs = f"job {batch.entries[0].job.number}" + (f" and {more} more" if more else "")
        console.output_mode.run = jobs
        line = [] if lines.bar.disable else [JobLine(lines, jobs)]
        try:
            return batch, self.worker.draw([entry.checked or entry.tree for entry in batch.entries], line)
        except JobFailure as failed:
            return batch, failed

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *error: object) -> None:
        return None
