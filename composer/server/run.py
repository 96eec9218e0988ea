"""Start and end of the service."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from uvicorn.config import LOGGING_CONFIG

from composer.errors import Busy
from composer.server.app import Routes, make_app
from composer.server.service import Service
from composer.server.settings import ServeSettings
from composer.server.slow_clients import BoundedProtocol
from composer.server.supervisor import Supervisor
from composer.server.worker import SERVER, lock

#: Connections at once; more are answered with 503.
MAX_CONNECTIONS = 200


class _Server(uvicorn.Server):
    """uvicorn's server, which ends requests that wait for jobs when it is to stop."""

    def __init__(self, config: uvicorn.Config, routes: Routes, started: Callable[[], None]) -> None:
        super().__init__(config)
        self.routes, self.on_start = routes, started

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM and Ctrl-C; uvicorn's own raises the signal again, which would end the process at once."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.routes.stopping.set()
        await super().shutdown(sockets)


def serve(settings: ServeSettings, token: str, started: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        settings: The settings.
        token: Secret that clients send.
        started: Receives the address once the service listens.

    Raises:
        Busy: Another service uses the directory.
        OSError: The address cannot be listened at.
    """
    folder = settings.path
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with lock(folder, SERVER, wait=False):
            _serve(settings, token, started)
    except BlockingIOError:
        raise Busy("serve folder", folder, "another service uses it: stop that one, or name another folder") from None


def _serve(settings: ServeSettings, token: str, started: Callable[[str], None]) -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((settings.host, settings.port))
    port = listener.getsockname()[1]
    host = f"[{settings.host}]" if family == socket.AF_INET6 else settings.host
    service = Service(settings.path, settings.queue)
    supervisor = Supervisor(settings.path, settings.workers, settings.log)
    supervisor.start()
    try:
        app, routes = make_app(service, supervisor, token, settings.host_names)
        config = uvicorn.Config(
            app, ws="none", lifespan="off", log_level="warning", access_log=False, server_header=False,
            date_header=False, proxy_headers=False, timeout_keep_alive=15, timeout_graceful_shutdown=5,
            limit_concurrency=MAX_CONNECTIONS, h11_max_incomplete_event_size=32 << 10, http=BoundedProtocol,
            log_config=None if settings.log == "json" else LOGGING_CONFIG,
        )  # fmt: skip
        server = _Server(config, routes, lambda: started(f"http://{host}:{port}"))
        asyncio.run(server.serve(sockets=[listener]))
    finally:
        supervisor.stop(settings.grace)
        listener.close()
