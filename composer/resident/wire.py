"""Messages between client and server: one line of JSON each, and with the first the client's stdout and stderr
themselves.

Nothing is ever unpickled, and a line has a longest length. What a run prints goes straight to the client's terminal or
file.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

#: Bytes of the longest message: a command line and an environment.
LONGEST = 4 << 20


def send(peer: socket.socket, message: dict[str, Any], files: tuple[int, ...] = ()) -> None:
    data = json.dumps(message).encode() + b"\n"
    if files:
        sent = socket.send_fds(peer, [data], list(files))
        data = data[sent:]
    peer.sendall(data)


def receive(peer: socket.socket, files: int = 0) -> tuple[dict[str, Any] | None, list[int]]:
    """The next message and the files that came with it; None where the other side has closed.

    Raises:
        ValueError: too long, or no JSON object.
    """
    data, found = b"", []
    while not data.endswith(b"\n"):
        try:
            ahead = peer.recv(1 << 16, socket.MSG_PEEK)  # not beyond the line's end, where the next message begins
            part, more, _, _ = socket.recv_fds(peer, ahead.find(b"\n") + 1 or len(ahead) or 1, files - len(found))
        except ConnectionError:
            part, more = b"", []
        found += more
        data += part
        if not part:
            return None, found
        if len(data) > LONGEST:
            raise ValueError("the message is too long")
    message = json.loads(data)
    if not isinstance(message, dict):
        raise ValueError("the message is no object")
    return message, found


def owner(peer: socket.socket) -> int | None:
    """The user at the other end, None where the system does not tell."""
    if not hasattr(socket, "SO_PEERCRED"):  # macOS: the folder's rights have to do
        return None
    return struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))[1]
