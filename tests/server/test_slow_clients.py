"""Clients that send byte by byte, or nothing, are cut off, and others are answered meanwhile."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from served import TOKEN
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

HEAD = f"POST /jobs HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"


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
        head_seconds = 0.5

    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    monkeypatch.setattr(guard, "BODY_SECONDS", 0.5)
    app = guard.Guard(Starlette(routes=[Route("/jobs", answer, methods=["POST"])]), TOKEN, frozenset({"127.0.0.1"}))
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
