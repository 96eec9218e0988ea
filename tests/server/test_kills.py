"""Server and workers are killed at random moments: every job is done once, with the images of the command line."""

from __future__ import annotations

import io
import os
import random
import signal
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image


def worker_pids(service) -> list[int]:
    """Processes whose parent is the service."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == service.process.pid:
            pids.append(int(path.parent.name))
    return pids


def kill_workers(service) -> None:
    for pid in worker_pids(service):
        os.kill(pid, signal.SIGKILL)


def check_all(service, jobs, compose) -> None:
    """Each job is done, with one record, and with the bits of the command line."""
    ended = [service.wait(job["id"], seconds=400) for job in jobs]
    assert [job["state"] for job in ended] == ["done"] * len(jobs)
    assert service.request("GET", "/jobs?limit=1000").json()["counts"]["done"] == len(jobs)
    assert len(list((service.folder / "jobs").iterdir())) == len(jobs)
    for job in ended[:3]:
        assert compose(*job["overrides"], f"output.folder={job['id']}").code == 0
        image = Image.open(io.BytesIO(httpx.get(job["images"][0]).content))
        assert np.array_equal(np.asarray(image), np.asarray(Image.open(f"{job['id']}/000.png")))


@pytest.mark.slow  # the standard sample is test_queue.py, which recovers jobs of killed workers without a model
@pytest.mark.parametrize(("count", "kills"), [(4, 2), (40, 20)])
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the workers in /proc")
def test_nothing_is_lost_or_done_twice(services, compose, count, kills):
    moments = random.Random(kills)
    service = services()
    jobs = [job for i in range(count) for job in service.submit("steps=8", f"seed={i}", client=f"client {i % 2}")]
    for number in range(kills):
        service.wait(jobs[min(number, count - 1)]["id"], "running", "done", seconds=400)
        time.sleep(moments.uniform(0, 0.5))
        if number % 2:
            kill_workers(service)
        else:
            service.kill()
            service = services()
    check_all(service, jobs, compose)
    assert service.stop() == 0


@pytest.mark.slow
def test_sigterm_lets_the_running_job_end_and_keeps_the_others(services):
    service = services("grace=300")
    first, second = service.submit("steps=60"), service.submit("steps=2")
    while service.job(first[0]["id"])["step"] == 0:
        time.sleep(0.05)
    assert service.stop() == 0
    service = services()
    assert service.job(first[0]["id"])["state"] == "done" and service.job(first[0]["id"])["attempts"] == 1
    assert service.wait(second[0]["id"])["state"] == "done"


def test_a_second_service_in_the_folder_is_refused(services, compose, monkeypatch):
    service = services()
    monkeypatch.chdir(service.folder.parent)
    refused = compose("serve", "--port", "0", "folder=q")
    assert refused.code == 3 and "another service uses it" in refused.err
    monkeypatch.chdir(service.folder.parent)
    taken = compose("serve", "--port", service.address.rpartition(":")[2], "folder=other")
    assert taken.code == 2 and "can't listen" in taken.err
    assert compose("serve", "--port", "99999").code == 2 and compose("serve", "nothing=1").code == 2
    monkeypatch.setenv("COMPOSE_TOKEN", "short")
    assert "COMPOSE_TOKEN" in compose("serve").err
