"""Messages between client and server: one line of JSON each. The first passes the client's stdout and stderr along.

Nothing is ever unpickled, and the length of a line is bounded. A run prints straight to the client's terminal or file.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

#: Bytes of the longest message: a command line and an environment.
MAX_MESSAGE_BYTES = 4 << 20


def send(peer: socket.socket, message: dict[str, Any], files: tuple[int, ...] = ()) -> None:
    """Send a message.

    Args:
        peer: The connection.
        message: The message; it must fit into JSON.
        files: File descriptors to pass along.

    Raises:
        OSError: The connection is closed.
    """
    data = json.dumps(message).encode() + b"\n"
    if files:
        sent = socket.send_fds(peer, [data], list(files))
        data = data[sent:]
    peer.sendall(data)


def receive(peer: socket.socket, files: int = 0) -> tuple[dict[str, Any] | None, list[int]]:
    """Receive the next message.

    Args:
        peer: The connection.
        files: Most file descriptors to accept.

    Returns:
        The message, None if the peer has closed, and the file descriptors that came with it.

    Raises:
        ValueError: The message is too long, or is no JSON object.
    """
    data = b""
    received: list[int] = []
    while not data.endswith(b"\n"):
        try:
            ahead = peer.recv(1 << 16, socket.MSG_PEEK)  # not beyond the line's end, where the next message begins
            part, more, _, _ = socket.recv_fds(peer, ahead.find(b"\n") + 1 or len(ahead) or 1, files - len(received))
        except ConnectionError:
            part, more = b"", []
        received += more
        data += part
        if not part:
            return None, received
        if len(data) > MAX_MESSAGE_BYTES:
            raise ValueError("the message is too long")
    message = json.loads(data)
    if not isinstance(message, dict):
        raise ValueError("the message is no object")
    return message, received


def owner(peer: socket.socket) -> int | None:
    """Return the user of the peer.

    Args:
        peer: The connection.

    Returns:
        The user id, or None if the system does not provide it.
    """
    if not hasattr(socket, "SO_PEERCRED"):  # macOS: the directory's mode must suffice
        return None
    return struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))[1]
