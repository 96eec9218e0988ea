"""A worker process: takes jobs from the queue and generates their images, with the models that it has loaded.

It ends when its parent does, whose pipe it reads. It holds a lock on a file of its own, for which the next worker of
the same number waits, and then decides what became of the job that this one had.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.callbacks.base import Step, StepCallback
from composer.checks.compatibility import Checked
from composer.errors import ComposerError
from composer.media.medium import poster
from composer.records.measured import METRICS, VALUES
from composer.server.answers import error_facts
from composer.server.full_disk import is_disk_full, until_written
from composer.server.logs import note
from composer.server.process_ends import ProcessEnd
from composer.server.queue import JobQueue, QueuedJob
from composer.sweeps.request_configs import RequestConfigs
from composer.system.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

    from composer.config.spec import RunSpec
    from composer.recipes.spec import RecipeSpec
    from composer.records.result import Result

#: Seconds between two looks into an empty queue, and between two notes of a job's progress.
IDLE_SECONDS, NOTE_SECONDS = 0.1, 0.2
#: A preview is decoded when this many times the duration of the last one has passed: at most a tenth of the time.
PREVIEW_PAUSE = 10.0
PREVIEW_SIZE = 384
#: Seconds until the next job after one that found the disk full.
FULL_SECONDS = 5.0
#: Number of the lock of the server itself, beside those of the workers.
SERVER = -1
RECORD, PREVIEW = "run.json", "preview.jpg"


class Cancelled(BaseException):
    """The end of a job that its client cancelled; no `Exception`, so that nothing takes it for a failure."""


class Report(StepCallback):
    """Notes steps in the queue, writes previews, and ends a cancelled job.

    Args:
        queue: The queue.
        job: The job.
        folder: Directory of its files.

    Attributes:
        part: Of a step of a recipe: steps before it, its own, and those of all; None for a single run.
    """

    batch_safe = True
    media = frozenset({"image", "clip", "sound"})

    def __init__(self, queue: JobQueue, job: QueuedJob, folder: Path) -> None:
        self.queue, self.job, self.folder = queue, job, folder
        self.noted = self.next_preview = 0.0
        self.previews = 0
        self.part: tuple[int, int, int] | None = None

    def after_predict(self, step: Step, prediction: Tensor) -> None:
        """Decode what the step predicts, if it is time for a preview."""
        began = time.monotonic()
        if began < self.next_preview:
            return
        import io

        try:
            image = poster(self.run.decode(self.run.denoised(step, prediction))[0])
        except ComposerError:  # the pipeline predicts no images at this step
            self.next_preview = float("inf")
            return
        image.thumbnail((PREVIEW_SIZE, PREVIEW_SIZE))
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "JPEG", quality=80)
        write_atomically(self.folder / PREVIEW, buffer.getvalue())
        self.previews += 1
        self.next_preview = time.monotonic() + PREVIEW_PAUSE * (time.monotonic() - began)

    def after_step(self, step: Step, latents: Tensor) -> None:
        """Note the step, and stop where the client cancelled the job."""
        now = time.monotonic()
        if now < self.noted + NOTE_SECONDS and step.index + 1 < step.total:
            return
        self.noted = now
        with suppress(sqlite3.OperationalError):  # on a full disk: the job goes on, and its end will wait
            done, total = step.index + 1, step.total
            if self.part is not None:
                before, steps, of_all = self.part
                done, total = before + done * steps // total, of_all
            if self.queue.progress(self.job.id, done, total, self.previews):
                raise Cancelled


def job_folder(folder: Path, name: str) -> Path:
    """Directory of a job's files.

    Args:
        folder: Directory of the service.
        name: The job's id.
    """
    return folder / "jobs" / name


def files_in(folder: Path) -> list[str]:
    """Names of a job's files, for its addresses: images first, the record last.

    Args:
        folder: Directory of the job.
    """
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    return sorted((name for name in names if name != PREVIEW), key=lambda name: (name == RECORD, name))


def metrics_in(folder: Path) -> dict[str, list[float | None]]:
    """What the record of a job has measured: metric → its value for each image.

    Args:
        folder: Directory of the job.
    """
    record = json.loads((folder / RECORD).read_text("utf-8"))
    return {name: measured[VALUES] for name, measured in record.get(METRICS, {}).items()}


def generate(queue: JobQueue, job: QueuedJob, configs: RequestConfigs) -> None:
    """Run a job and note its end.

    Args:
        queue: The queue.
        job: A job that this process has claimed.
        configs: Composes its config.

    Raises:
        KeyboardInterrupt: The process is to end.
    """
    folder = job_folder(queue.folder, job.id)
    shutil.rmtree(folder, ignore_errors=True)  # what an attempt that was killed left
    began = time.monotonic()
    note("job started", job=job.id, client=job.client, attempt=job.attempts)
    state, files, error, metrics = "done", list[str](), None, dict[str, list[float | None]]()
    try:
        folder.mkdir(parents=True)
        _generate(queue, job, configs, folder)
        files, metrics = files_in(folder), metrics_in(folder)
    except Cancelled:
        state = "cancelled"
    except Exception as raised:
        if is_disk_full(raised):  # it waits until there is space again
            shutil.rmtree(folder, ignore_errors=True)
            until_written(lambda: queue.release(job.id, None))
            note("disk is full", job=job.id, client=job.client)
            time.sleep(FULL_SECONDS)
            return
        state, error = "failed", _facts(raised)
    if state != "done":
        shutil.rmtree(folder, ignore_errors=True)
    until_written(lambda: queue.finish(job.id, state, files, error, metrics))
    reason = error and error["message"]
    note(f"job {state}", job=job.id, client=job.client, seconds=round(time.monotonic() - began, 3), reason=reason)
    gc.collect()


def _generate(queue: JobQueue, job: QueuedJob, configs: RequestConfigs, folder: Path) -> None:
    from composer.pipelines.run import execute
    from composer.recipes.requests import read_request
    from composer.recipes.spec import RecipeSpec, without_progress
    from composer.records.result import save

    spec, report = without_progress(read_request(configs(job.words))), Report(queue, job, folder)
    if isinstance(spec, RecipeSpec):
        result = _run_recipe(spec, report, folder)
    else:
        result = _without_report(execute(spec, folder, more=[report]), spec)
    save(result, folder, [path for path in folder.rglob("*") if path.is_file()])


def _run_recipe(spec: RecipeSpec, report: Report, folder: Path) -> Result:
    """Run the steps of a recipe, of which each takes its part of the job's progress."""
    from composer.pipelines.run import execute_checked
    from composer.recipes.check import check_recipe
    from composer.recipes.run import Runner, run_recipe

    checked = check_recipe(spec)
    runs = [(step.step.name, step.checked.request.steps) for step in checked.steps if isinstance(step.checked, Checked)]
    before = {name: sum(steps for _, steps in runs[:index]) for index, (name, _) in enumerate(runs)}

    def generate(name: str, run: Checked, scratch: Path, say: Callable[[str], None]) -> Result:
        report.part = before[name], run.request.steps, sum(steps for _, steps in runs)
        return _without_report(execute_checked(run, scratch, say, [report]), run.spec)

    result = run_recipe(checked, folder, runner=Runner(generate=generate, reuse=spec.reuse))
    total = sum(steps for _, steps in runs)
    with suppress(sqlite3.OperationalError):  # steps whose results were stored have noted none
        report.queue.progress(report.job.id, total, total, report.previews)
    return result


def _without_report(result: Result, spec: RunSpec) -> Result:
    """The result as the command line has it, without the callback of the service in its record."""
    callbacks = {name: facts for name, facts in result.record["callbacks"].items() if name in spec.callbacks}
    return replace(result, record={**result.record, "callbacks": callbacks})


def _facts(error: Exception) -> dict[str, Any]:
    if isinstance(error, ComposerError):
        return error_facts(error)
    reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    return {"message": reason, "key": None, "value": None, "reason": reason, "allowed": []}


def recover(queue: JobQueue, worker: int, end: ProcessEnd | None = None) -> None:
    """Decide what became of jobs whose workers have ended: done if the record exists, else they wait again.

    Args:
        queue: The queue.
        worker: Number of this worker, whose lock this process holds.
        end: How the worker of this number before ended, as its server saw; None for the first one of a server, which
            decides about the jobs of other numbers too.
    """
    for job in queue.running():
        if job.worker == worker:
            _recover(queue, job, end)
        elif end is None:
            with suppress(BlockingIOError), lock(queue.folder, job.worker or 0, wait=False):
                _recover(queue, job, None)


def _recover(queue: JobQueue, job: QueuedJob, end: ProcessEnd | None) -> None:
    folder = job_folder(queue.folder, job.id)
    if (folder / RECORD).is_file():
        queue.finish(job.id, "done", files_in(folder), metrics=metrics_in(folder))
    else:
        queue.release(job.id, end)


@contextmanager
def lock(folder: Path, worker: int, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a worker's number; the system releases it when the process ends, however it does.

    Args:
        folder: Directory of the service.
        worker: Number of the worker.
        wait: Whether to wait for a worker that holds it.

    Raises:
        BlockingIOError: Another process holds it.
    """
    import fcntl

    handle = os.open(folder / f"worker-{worker}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


def work(folder: Path, worker: int, end: ProcessEnd | None = None) -> None:
    """Take jobs until SIGTERM comes or the parent ends.

    Args:
        folder: Directory of the service.
        worker: Number of this worker.
        end: How the worker of this number before ended; None for the first one of a server.
    """
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal: the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    queue, configs = until_written(lambda: JobQueue(folder)), RequestConfigs()
    with lock(folder, worker):
        until_written(lambda: recover(queue, worker, end))
        while not stopping.is_set() and not _waits(queue):
            stopping.wait(IDLE_SECONDS)
        _load()
        while not stopping.is_set():
            job = _claim(queue, worker)
            if job is None:
                stopping.wait(IDLE_SECONDS)
            else:
                generate(queue, job, configs)


def _waits(queue: JobQueue) -> bool:
    """Whether a job waits; False too while the database cannot be read."""
    try:
        return queue.counts()["queued"] > 0
    except sqlite3.OperationalError:
        return False


def _load() -> None:
    """Import what a job needs, which takes seconds, before one is taken: no job is lost to an end meanwhile."""
    import composer.pipelines.build
    import composer.pipelines.run  # noqa: F401

    gc.collect()
    gc.freeze()  # what was imported stays: the collection after each job need not look at it


def _claim(queue: JobQueue, worker: int) -> QueuedJob | None:
    """The next job; None too while the database cannot be written, such as on a full disk."""
    try:
        return queue.claim(worker)
    except sqlite3.OperationalError as error:
        note("database waits", reason=str(error))
        return None


def _end_with_parent() -> None:
    """End at once when the pipe from the parent closes: without it nobody would end this process."""
    with suppress(OSError):
        while os.read(sys.stdin.fileno(), 1):
            pass
    os._exit(1)
