"""Clients that do not send the head of a request in time, byte by byte or not at all, or do not read its answer, are
disconnected.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: Seconds that a client has for the head of a request, from the connection or from the end of the request before.
HEAD_SECONDS = 15.0
#: Seconds in which a client has to read 48 KiB of an answer (asyncio's buffer, from its upper to its lower limit).
READ_SECONDS = 60.0


class BoundedProtocol(H11Protocol):
    """uvicorn's connection, whose client has a limited time for each head and each part of an answer; that of bodies is
    the guard's.
    """

    head_seconds, read_seconds = HEAD_SECONDS, READ_SECONDS
    _deadline: asyncio.TimerHandle | None = None
    _read_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the head of the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Stop waiting once a head is complete."""
        super().data_received(data)
        self._wait()

    def on_response_complete(self) -> None:
        """Wait for the head of the next request."""
        super().on_response_complete()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        super().connection_lost(exc)
        self._stop()
        self._stop_reading()

    def pause_writing(self) -> None:
        """Let the time run in which the client must read: what waits for it stays in the memory."""
        super().pause_writing()
        self._stop_reading()
        self._read_deadline = self.loop.call_later(self.read_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        self._stop_reading()

    def _stop_reading(self) -> None:
        if self._read_deadline is not None:
            self._read_deadline.cancel()
            self._read_deadline = None

    def _wait(self) -> None:
        """Let the time run while no head is complete, from its beginning: further bytes do not extend it."""
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
