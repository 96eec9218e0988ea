"""Operations of the service's queue with 50 clients on the loopback, and what a job costs beside the Python API.

    python benchmarks/serve_load.py            (2 minutes)
    python benchmarks/serve_load.py --quick    (a tenth of it: proves the script, not the point)

Clients keep a connection and send one request after the other; once jobs are submitted, the worker generates meanwhile.
The overhead is the time from a client's POST /v1/images/generations to its answer, without the time
of the same image in this process by the Python API; both have their models loaded.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from serve_kills import TOKEN, Service

CLIENTS = 50
STEPS = 2


class Client:
    """A client with a connection that it keeps.

    Args:
        address: Address of the service.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)

    def request(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self.connection.getresponse()
        data = answer.read()
        assert answer.status < 300, data
        return json.loads(data)


def hammer(address: str, operation: str, name: str, count: int) -> dict[str, float]:
    """Let all clients do an operation, and measure each."""
    times: list[float] = []

    def work(number: int) -> None:
        client = Client(address)
        for i in range(count):
            began = time.perf_counter()
            if operation == "submit":
                client.request("POST", "/jobs", {"overrides": [f"seed={i}", "steps=1"], "client": str(number)})
            elif operation == "get":
                client.request("GET", f"/jobs/{name}")
            else:
                client.request("GET", "/jobs?limit=20")
            times.append(time.perf_counter() - began)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    ordered = sorted(times)
    return {
        "requests": len(times),
        "per_second": round(len(times) / seconds, 1),
        "median_ms": round(1000 * statistics.median(ordered), 1),
        "p99_ms": round(1000 * ordered[int(0.99 * len(ordered))], 1),
    }


def overhead(address: str, count: int) -> dict[str, float]:
    """What a job takes over the service and in this process, in milliseconds."""
    import composer

    def served(seed: int) -> float:
        client = Client(address)  # one that waits is closed after 15 seconds, and models take longer to load
        began = time.perf_counter()
        client.request("POST", "/v1/images/generations", {"prompt": "a red cone", "seed": seed, "steps": STEPS})
        return 1000 * (time.perf_counter() - began)

    def here(seed: int) -> float:
        began = time.perf_counter()
        composer.compose(prompt="a red cone", seed=seed, steps=STEPS)
        return 1000 * (time.perf_counter() - began)

    served(0), here(0)  # both load their models
    pairs = [(served(seed), here(seed)) for seed in range(count)]
    figures = {}
    for name, of in (("median", statistics.median), ("least", min)):  # the least: least disturbed by other work
        service, api = (of(times) for times in zip(*pairs))
        figures |= {f"service_{name}_ms": service, f"python_{name}_ms": api, f"overhead_{name}_ms": service - api}
    return {name: round(value, 1) for name, value in figures.items()}


def measure(count: int) -> dict[str, Any]:
    """All figures; count: requests of each client."""
    with tempfile.TemporaryDirectory() as home:
        service = Service(Path(home) / "q")
        service.folder.mkdir()
        service.start("queue=100000")
        assert service.process is not None
        try:
            result: dict[str, Any] = {"overhead": overhead(service.address, max(3, count // 2))}
            name = service.request("GET", "/jobs?limit=1")["jobs"][0]["id"]
            result |= {
                operation: hammer(service.address, operation, name, count) for operation in ("get", "list", "submit")
            }
        finally:
            service.kill()
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    given = parser.parse_args()
    print(json.dumps(measure(2 if given.quick else 20), indent=1))
