"""A service in a process of its own, on a free port of the loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-these-tests"


@dataclass
class Service:
    """A running `compose serve`."""

    process: subprocess.Popen[str]
    address: str
    folder: Path

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {TOKEN}", **arguments.pop("headers", {})}
        return httpx.request(method, self.address + path, headers=headers, timeout=120, **arguments)

    def submit(self, *words: str, **fields: Any) -> list[dict[str, Any]]:
        answer = self.request("POST", "/jobs", json={"overrides": list(words), **fields})
        assert answer.status_code == 202, answer.text
        return answer.json()["jobs"]

    def job(self, name: str) -> dict[str, Any]:
        return self.request("GET", f"/jobs/{name}").json()

    def wait(self, name: str, *states: str, seconds: float = 180) -> dict[str, Any]:
        until = time.monotonic() + seconds
        while (job := self.job(name))["state"] not in (states or ("done", "failed", "cancelled")):
            assert time.monotonic() < until, job
            time.sleep(0.05)
        return job

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(300)


def start(folder: Path, *words: str) -> Service:
    """Start a service whose files are in a folder, and wait until it listens."""
    environment = {
        **os.environ,
        "COMPOSE_TOKEN": TOKEN,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "composer", "serve", "--json", "--port", "0", "folder=q", "grace=20", *words]
    log = (folder / "log.txt").open("a")
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    log.close()
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (folder / "log.txt").read_text()
    return Service(process, json.loads(line)["address"], folder / "q")
