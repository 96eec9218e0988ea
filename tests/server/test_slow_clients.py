"""Clients that send byte by byte, or nothing, are cut off, and others are answered meanwhile."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image
from served import TOKEN
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

HEAD = f"POST /jobs HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
#: Sizes of what `/endless` has sent.
sent: list[int] = []


def dribble(address: tuple[str, int], head: str, rest: str, pause: float, most: float) -> tuple[float, bytes]:
    """Send a head at once and the rest a byte at a time.

    Returns:
        Seconds until the connection was closed, at most `most`, and what was received.
    """
    began, answer = time.monotonic(), b""
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(head.encode())
        connection.settimeout(pause)
        characters = iter(rest)
        while time.monotonic() - began < most:
            try:
                connection.sendall(next(characters, "").encode())
                received = connection.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                break
            if not received:
                break
            answer += received
    return time.monotonic() - began, answer


@pytest.fixture
def server(monkeypatch) -> Iterator[tuple[str, int]]:
    """The guard and the protocol in this process, with a limit of half a second."""
    import uvicorn

    from composer.server import guard
    from composer.server.slow_clients import BoundedProtocol

    class Quick(BoundedProtocol):
        head_seconds = read_seconds = 0.5

    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    async def endless(request: Request) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            while True:
                sent.append(65536)
                yield b"x" * 65536
                await asyncio.sleep(0)  # as reading a file does: others have their turn

        return StreamingResponse(parts())

    monkeypatch.setattr(guard, "BODY_SECONDS", 0.5)
    monkeypatch.setattr(guard, "MAX_BODIES", 3000)
    sent.clear()
    routes = [Route("/jobs", answer, methods=["POST"]), Route("/endless", endless)]
    app = guard.Guard(Starlette(routes=routes), TOKEN, frozenset({"127.0.0.1"}))
    config = uvicorn.Config(app, port=0, http=Quick, ws="none", lifespan="off", log_level="warning")
    listener = socket.create_server(("127.0.0.1", 0))
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield listener.getsockname()
    running.should_exit = True
    thread.join()


def test_heads_and_bodies_have_a_limited_time(server):
    head = HEAD.replace("HOST", f"{server[0]}:{server[1]}")
    body = head + "Content-Length: 1000\r\n\r\n"
    for first, rest in (("", head), ("", ""), (head, "X: " + "x" * 1000)):
        seconds, answer = dribble(server, first, rest, 0.05, 10)
        assert 0.4 < seconds < 5 and answer == b""
    seconds, answer = dribble(server, body, "x" * 1000, 0.05, 10)
    assert 0.4 < seconds < 5 and answer.startswith(b"HTTP/1.1 408 ")
    complete = head + "Content-Length: 2\r\n\r\n{}"
    seconds, answer = dribble(server, complete, "", 0.05, 10)
    assert answer.endswith(b"\r\n\r\n2") and 0.4 < seconds < 5, "one that waits after an answer is closed too"


def test_a_client_that_does_not_read_is_cut_off_and_little_is_kept_for_it(server):
    head = HEAD.replace("POST /jobs", "GET /endless").replace("HOST", f"{server[0]}:{server[1]}")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(server)
        connection.sendall(f"{head}\r\n".encode())
        time.sleep(1.5)  # three times the time in which it must read
        connection.settimeout(30)
        with suppress(ConnectionResetError):  # or the end of what it was sent until then
            while connection.recv(1 << 20):
                pass
    assert 0 < sum(sent) < 16 << 20, "what the buffers of the kernel take"


def test_bodies_of_all_requests_are_bounded_together(server):
    head = HEAD.replace("HOST", f"{server[0]}:{server[1]}")
    with socket.create_connection(server, timeout=30) as first:
        first.sendall(f"{head}Content-Length: 2000\r\n\r\n".encode())
        time.sleep(0.1)
        seconds, answer = dribble(server, f"{head}Content-Length: 1001\r\n\r\n", "", 0.05, 10)
        assert answer.startswith(b"HTTP/1.1 429 ") and b"retry-after: 10" in answer and seconds < 5
        _, answer = dribble(server, f"{head}Transfer-Encoding: chunked\r\n\r\n", "0\r\n\r\n", 0.05, 10)
        assert answer.startswith(b"HTTP/1.1 429 "), "one that does not say how long it is counts as the longest"
        assert first.recv(100).startswith(b"HTTP/1.1 408 ")
    _, answer = dribble(server, f"{head}Content-Length: 2000\r\n\r\n" + "x" * 2000, "", 0.05, 10)
    assert answer.endswith(b"\r\n\r\n2000"), "the space is free again"


def memory_of(pid: int) -> int:
    """Resident memory of a process in bytes."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) << 10


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads the memory in /proc")
def test_readers_that_never_read_take_no_memory(service):
    """150 clients ask for an image of 12 MB, and for the events of a job, and read nothing."""
    parts = urlsplit(service.address)
    address = (parts.hostname or "", parts.port or 0)
    buffer = io.BytesIO()
    Image.effect_noise((4000, 3000), 100).save(buffer, "PNG")
    assert len(buffer.getvalue()) > 8_000_000
    image = {"content-type": "image/png"}
    name = service.request("POST", "/uploads", content=buffer.getvalue(), headers=image).json()["upload"]
    (job,) = service.submit("steps=900")
    before = memory_of(service.process.pid)
    connections = []
    for number in range(150):
        path = f"/uploads/{name.removeprefix('upload:')}" if number % 3 else f"/jobs/{job['id']}/events"
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(address)
        head = HEAD.replace("POST /jobs", f"GET {path}").replace("HOST", parts.netloc)
        connection.sendall(f"{head}\r\n".encode())
        connections.append(connection)
    largest, answers = 0, []
    for _ in range(20):
        began = time.monotonic()
        assert service.request("GET", "/jobs?limit=1").status_code == 200
        answers.append(time.monotonic() - began)
        largest = max(largest, memory_of(service.process.pid))
        time.sleep(0.5)
    service.request("POST", f"/jobs/{job['id']}/cancel")
    for connection in connections:
        connection.close()
    service.wait(job["id"])
    assert largest - before < 100 << 20, (before, largest)
    assert max(answers) < 10
    print(f"memory {before >> 20} -> {largest >> 20} MiB, slowest answer beside them {max(answers):.2f} s")


@pytest.mark.slow
def test_a_hundred_slow_clients_block_no_other(service):
    parts = urlsplit(service.address)
    address = (parts.hostname or "", parts.port or 0)
    head = HEAD.replace("HOST", parts.netloc)
    body = head + "Content-Length: 100000\r\n\r\n"
    ended: list[tuple[float, bytes]] = []

    def slow(first: str, rest: str) -> None:
        ended.append(dribble(address, first, rest, 0.5, 120))

    kinds = [("", head * 100), (body, "x" * 100_000), ("", ""), (head, "X: " + "x" * 100_000)]
    clients = [threading.Thread(target=slow, args=kinds[number % len(kinds)]) for number in range(100)]
    for client in clients:
        client.start()
    answers = []
    while any(client.is_alive() for client in clients):
        began = time.monotonic()
        assert service.request("GET", "/jobs?limit=1").status_code == 200
        answers.append(time.monotonic() - began)
        time.sleep(0.5)
    assert len(ended) == 100 and max(seconds for seconds, _ in ended) < 60 and max(answers) < 5
    assert all(answer == b"" or answer.startswith(b"HTTP/1.1 4") for _, answer in ended)
    assert sum(answer.startswith(b"HTTP/1.1 408 ") for _, answer in ended) == 25, "the bodies"
