"""The service is killed at random while two clients fill its queue, and its disk is full for a while.

    python benchmarks/serve_kills.py            (500 jobs of one step, 20 kills; 6 minutes alone on 2 cores)
    python benchmarks/serve_kills.py --quick    (20 jobs, 3 kills: proves the script, not the point)

Server and workers are killed in turn with SIGKILL, at moments that a seeded generator chooses: half of them some
seconds after the last kill, often while a worker starts, half of them once some more jobs are done, while others run.
The server is started again, as systemd does it. In the middle, server and workers get a limit of the size of files
(RLIMIT_FSIZE) that the database and the images exceed, as on a full disk, and lose it ten seconds later. Nothing is
retried by a client: in the end each job must be done, must have been finished by one worker only (the logs say it), and
must have all of its files; of some, the pixels are compared with those of the Python API.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

#: Seconds for which the disk is full.
FULL_SECONDS = 10.0
#: Settings of each job, beside its seed.
WORDS = ("steps=1", "width=64", "height=64")
TOKEN = "a-token-of-this-benchmark"
ROOT = Path(__file__).parents[1]


class Service:
    """A service that is started again and again in one directory."""

    def __init__(self, folder: Path, log: str = "text") -> None:
        self.folder, self.log = folder, log
        self.address = ""
        self.starts = 0
        self.process: subprocess.Popen[str] | None = None

    def start(self, *words: str) -> None:
        """Start it, with further settings."""
        environment = {**os.environ, "COMPOSE_TOKEN": TOKEN, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        port = self.address.rpartition(":")[2] or "0"
        command = [
            sys.executable,
            "-m",
            "composer",
            "serve",
            "--json",
            "--port",
            port,
            f"folder={self.folder}",
            "grace=60",
            "--log",
            self.log,
            *words,
        ]
        with (self.folder.parent / "log.txt").open("a") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (self.folder.parent / "log.txt").read_text()
        self.address = json.loads(line)["address"]
        self.starts += 1

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def workers(self) -> list[int]:
        """Processes whose parent is the service."""
        assert self.process is not None
        pids = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                if int(path.read_text().rpartition(")")[2].split()[1]) == self.process.pid:
                    pids.append(int(path.parent.name))
            except (OSError, ValueError):
                continue
        return pids

    def kill_workers(self) -> None:
        for pid in self.workers():
            os.kill(pid, signal.SIGKILL)

    def limit_files(self, largest: int) -> None:
        """Bound the size of files that server and workers can write, in bytes: writing fails, as on a full disk."""
        assert self.process is not None
        for pid in (self.process.pid, *self.workers()):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))

    def request(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


def submit(service: Service, client: str, seeds: list[int], accepted: dict[int, str]) -> None:
    """Submit a job for each seed, again while the service does not answer."""
    for seed in seeds:
        while seed not in accepted:
            try:
                jobs = service.request("POST", "/jobs", {"overrides": [*WORDS, f"seed={seed}"], "client": client})[
                    "jobs"
                ]
                accepted[seed] = jobs[0]["id"]
            except (OSError, urllib.error.HTTPError):
                # a job can have been queued before the connection broke: look it up instead of queueing it twice
                time.sleep(0.2)
                try:
                    query = f"/jobs?limit=1000&contains=seed={seed}"
                    for job in service.request("GET", query)["jobs"]:
                        if f"seed={seed}" in job["overrides"]:
                            accepted[seed] = job["id"]
                except (OSError, urllib.error.HTTPError):
                    continue


def pixels(seed: int) -> list[str]:
    """Hashes of the pixels that the Python API generates, as records have them."""
    import composer

    return composer.compose(steps=1, width=64, height=64, seed=seed).record["pixels"]


def measure(count: int, kills: int) -> dict[str, Any]:
    """Queue jobs, kill the service, fill its disk, and count."""
    moments = random.Random(count)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        service = Service(Path(home) / "q", "json")
        (Path(home) / "q").mkdir()
        service.start()
        accepted: dict[int, str] = {}
        full: dict[str, int] = {}
        clients = [
            threading.Thread(target=submit, args=(service, f"client {n}", list(range(n, count, 2)), accepted))
            for n in (0, 1)
        ]
        for client in clients:
            client.start()
        for number in range(kills):
            if number % 4 < 2 and number != kills // 2:
                time.sleep(moments.uniform(0.5, 12))
            else:
                progress(service, moments.randint(1, max(1, count // kills)))
                time.sleep(moments.uniform(0, 0.3))
            if number == kills // 2:
                full = fill_disk(service, count, accepted)
            if number % 2:
                service.kill_workers()
            else:
                service.kill()
                service.start()
        for client in clients:
            client.join()
        counts = wait(service)
        result = check(service, accepted, count)
        assert service.process is not None
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(120) == 0
    return {
        "jobs": count, "kills": kills, "starts": service.starts, **result, "full_disk": full, "states": counts,
        "seconds": round(time.monotonic() - began),
    }  # fmt: skip


def fill_disk(service: Service, seed: int, accepted: dict[int, str]) -> dict[str, int]:
    """Let the disk be full for a while; the jobs that were done meanwhile, and the status of a submission."""
    before = service.request("GET", "/jobs?limit=1")["counts"]["done"]
    service.limit_files(8 << 10)
    status = 202
    try:
        body = {"overrides": [*WORDS, f"seed={seed}"], "client": "client 2"}
        accepted[seed] = service.request("POST", "/jobs", body)["jobs"][0]["id"]
    except urllib.error.HTTPError as error:
        status = error.code
    time.sleep(FULL_SECONDS)
    done = service.request("GET", "/jobs?limit=1")["counts"]["done"] - before
    service.limit_files(resource.RLIM_INFINITY)
    return {"done_meanwhile": done, "status_of_a_submission": status}


def progress(service: Service, more: int) -> None:
    """Wait until some more jobs are done and one runs, or all are done."""
    first = None
    while True:
        counts = service.request("GET", "/jobs?limit=1")["counts"]
        first = counts["done"] if first is None else first
        if counts["done"] >= first + more and counts["running"]:
            return
        if first and not counts["queued"] + counts["running"]:
            return
        time.sleep(0.02)


def wait(service: Service) -> dict[str, int]:
    """Wait until nothing waits or runs."""
    while True:
        counts = service.request("GET", "/jobs?limit=1")["counts"]
        if not counts["queued"] + counts["running"]:
            return counts
        time.sleep(0.5)


def events(log: Path, name: str) -> collections.Counter[str]:
    """How often the logs say an event of each job; a line can be cut where its process was killed."""
    counts: collections.Counter[str] = collections.Counter()
    for line in log.read_text(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("event") == name:
            counts[entry.get("job", "")] += 1
    return counts


def check(service: Service, accepted: dict[int, str], count: int) -> dict[str, Any]:
    """Count what is lost, twice or half."""
    jobs = []
    before = ""
    while page := service.request("GET", f"/jobs?limit=500{before}")["jobs"]:
        jobs += page
        before = f"&before={page[-1]['number']}"
    done = {job["id"]: job for job in jobs if job["state"] == "done"}
    folders = {path.name: path for path in (service.folder / "jobs").iterdir()}
    seeds = collections.Counter(word for job in jobs for word in job["overrides"] if word.startswith("seed="))
    half = [name for name, path in folders.items() if name not in done or not is_complete(path)]
    compared = sorted(accepted)[:: max(1, count // 10)]
    different = 0
    for seed in compared:
        record = json.loads((folders[accepted[seed]] / "run.json").read_text())
        different += record["pixels"] != pixels(seed)
    log = service.folder.parent / "log.txt"
    finished, begun = events(log, "job done"), events(log, "job started")
    failed = collections.Counter(job["error"]["reason"] for job in jobs if job["state"] == "failed")
    return {
        "lost": sum(name not in done for name in accepted.values()),
        "twice": sum(number - 1 for number in (*seeds.values(), *finished.values())),
        "half": len(half),
        "failed": dict(failed),
        "begun_again": sum(number - 1 for number in begun.values()),
        "attempts_at_most": max(job["attempts"] for job in jobs),
        "compared": len(compared),
        "different": different,
    }


def is_complete(folder: Path) -> bool:
    """Whether the image is complete and has the pixels that the record names."""
    from PIL import Image

    from composer.media.medium import digest

    record = json.loads((folder / "run.json").read_text())
    return record["pixels"] == [digest(Image.open(folder / "000.png"))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 jobs and 3 kills")
    given = parser.parse_args()
    print(json.dumps(measure(20, 3) if given.quick else measure(500, 20), indent=1))
