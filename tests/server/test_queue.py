"""The queue: nothing is lost or done twice, clients take turns, and it is bounded."""

from __future__ import annotations

import contextlib
import json
import resource
import sqlite3
import threading
from dataclasses import replace

import pytest

from composer.errors import ComposerError
from composer.server.process_ends import end_of
from composer.server.queue import MAX_CRASHES, MAX_KILLS, JobQueue, QueueFull
from composer.server.worker import generate, job_folder, recover
from composer.sweeps.request_configs import RequestConfigs


@pytest.fixture
def queue(tmp_path) -> JobQueue:
    return JobQueue(tmp_path, longest=50)


def test_clients_take_turns(queue):
    queue.add("a", [[f"seed={i}"] for i in range(4)])
    queue.add("b", [["seed=10"], ["seed=11"]])
    queue.add("c", [["seed=20"]])
    order = [queue.claim(0) for _ in range(7)]
    assert "".join(job.client for job in order) == "abcabaa"
    assert [job.words[0] for job in order if job.client == "a"] == [f"seed={i}" for i in range(4)]
    assert queue.claim(0) is None


def test_it_is_bounded_and_takes_all_jobs_of_a_request_or_none(queue):
    queue.add("a", [["seed=1"]] * 49)
    with pytest.raises(QueueFull, match="has no space for 2 more"):
        queue.add("a", [["seed=1"]] * 2)
    assert queue.counts()["queued"] == 49


def test_no_job_is_claimed_twice(queue):
    jobs = queue.add("a", [[f"seed={i}"] for i in range(50)])
    claimed: list[str] = []

    def work(worker: int) -> None:
        while job := JobQueue(queue.folder).claim(worker):
            claimed.append(job.id)
            queue.finish(job.id, "done")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(job.id for job in jobs) and queue.counts()["done"] == 50


def test_a_killed_job_is_done_if_its_record_exists_and_waits_again_otherwise(queue):
    queue.add("a", [["seed=1"], ["seed=2"]])
    finished, half = queue.claim(0), queue.claim(0)
    for job in (finished, half):
        job_folder(queue.folder, job.id).mkdir(parents=True)
        (job_folder(queue.folder, job.id) / "000.png").write_bytes(b"x")
    metrics = {"sharpness": {"higher_is_better": True, "values": [2.5, None]}}
    (job_folder(queue.folder, finished.id) / "run.json").write_text(json.dumps({"metrics": metrics}))
    recover(queue, 0)
    assert queue.get(finished.id).metrics == {"sharpness": [2.5, None]} and queue.get(half.id).metrics == {}
    assert queue.get(finished.id).state == "done" and queue.get(finished.id).files == ("000.png", "run.json")
    assert queue.get(half.id).state == "queued" and queue.claim(1).id == half.id


@pytest.mark.parametrize(
    ("returncode", "memory_ran_out", "most", "reason"),
    [
        (-11, False, MAX_CRASHES, f"ended its worker process {MAX_CRASHES} times, the last time by SIGSEGV"),
        (-9, True, MAX_CRASHES, "for want of memory"), (1, False, MAX_CRASHES, "exit code 1"),
        (-9, False, MAX_KILLS, f"its worker process was killed {MAX_KILLS} times while it ran, the last time by SIGK"),
        (-15, True, MAX_KILLS, "by SIGTERM"),
    ],
)  # fmt: skip
def test_a_job_that_ends_its_worker_again_and_again_fails(queue, returncode, memory_ran_out, most, reason):
    (job,) = queue.add("a", [["seed=1"]])
    for number in range(most):
        assert queue.get(job.id).state == "queued" and queue.claim(0).id == job.id, number
        recover(queue, 0, end_of(returncode, memory_ran_out))
    assert queue.get(job.id).state == "failed" and reason in queue.get(job.id).error["reason"]
    assert queue.retry(job.id).state == "queued"
    assert (queue.get(job.id).attempts, queue.get(job.id).crashes, queue.get(job.id).kills) == (0, 0, 0)


def test_only_what_can_be_cancelled_or_retried_is(queue):
    first, second = queue.add("a", [["seed=1"], ["seed=2"]])
    assert queue.claim(0).id == first.id and queue.cancel(second.id).state == "cancelled"
    assert queue.cancel(first.id).state == "running" and queue.progress(first.id, 1, 2, 0)
    queue.finish(first.id, "done")
    for refused in (queue.cancel, queue.retry):
        with pytest.raises(ComposerError, match="is done"):
            refused(first.id)
        with pytest.raises(ComposerError, match="there is no such job"):
            refused("nothing")


def test_a_job_is_not_blamed_for_ends_that_are_not_its_own(queue):
    """The server was killed, or others killed the worker: both do not use up the times that a job may crash."""
    (job,) = queue.add("a", [["seed=1"]])
    for end in (None, end_of(-9, False)) * MAX_CRASHES:
        assert queue.claim(0).id == job.id
        recover(queue, 0, end)
    waits = queue.get(job.id)
    assert (waits.state, waits.crashes, waits.kills, waits.attempts) == ("queued", 0, MAX_CRASHES, 2 * MAX_CRASHES)


def test_only_the_first_worker_of_a_server_decides_about_jobs_of_others(queue):
    """The server alone knows how a worker ended, and passes it to the next one of the same number."""
    (job,) = queue.add("a", [["seed=1"]])
    queue.claim(3)
    recover(queue, 0, end_of(-9, False))
    assert queue.get(job.id).state == "running"
    recover(queue, 0)
    assert queue.get(job.id).state == "queued" and queue.get(job.id).crashes == 0


@pytest.mark.slow
def test_a_job_waits_while_the_disk_is_full(queue, monkeypatch):
    """The limit of the size of files acts as a full disk: Python ignores its signal, and writing fails."""
    monkeypatch.setattr("composer.server.worker.FULL_SECONDS", 0.0)
    (job,) = queue.add("a", [["steps=1"]])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    running = queue.claim(0)
    size = max(path.stat().st_size for path in queue.folder.iterdir())
    noise = ["width=512", "height=512"]  # an image larger than the database
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 65536, before[1]))
    try:
        generate(queue, replace(running, words=("steps=1", *noise)), RequestConfigs())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    waits = queue.get(job.id)
    assert waits.state == "queued" and waits.crashes == 0 and not job_folder(queue.folder, job.id).exists()
    generate(queue, queue.claim(0), RequestConfigs())
    assert queue.get(job.id).state == "done"


@pytest.mark.parametrize("column", ["favourite", "crashes", "kills", "metrics"])
def test_the_database_of_an_older_service_is_completed(tmp_path, column):
    (job,) = JobQueue(tmp_path).add("a", [["prompt=x"]])
    with contextlib.closing(sqlite3.connect(tmp_path / "queue.db")) as db, db:
        db.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
    assert JobQueue(tmp_path).get(job.id) == job
