"""The client of `compose --warm …`: hands the command line to the server, and is its terminal.

Imports neither torch nor Hydra, so that it ends as soon as the run does.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from composer.errors import ComposerError
from composer.resident import socket_path, wire
from composer.system import console

#: Seconds until a new server must listen: it does so before it imports anything.
START_SECONDS = 20


def call(argv: list[str]) -> int:
    """Run a command line in the server, which is started if there is none.

    Args:
        argv: The arguments.

    Returns:
        The exit code.

    Raises:
        ComposerError: The server does not start, or ends at once.
    """
    name = socket_path.key()
    for _ in range(3):
        peer = _server(name)
        with peer:
            code = _run(peer, argv)
        if code is not None:
            return code
    raise ComposerError("--warm", None, "the resident process ends at each request: run without --warm to see why")


def _run(peer: socket.socket, argv: list[str]) -> int | None:
    """Return the exit code; None if the server ended before the run began."""
    sys.stdout.flush()
    sys.stderr.flush()
    mask = os.umask(0)
    os.umask(mask)
    about = {"argv": argv, "cwd": os.getcwd(), "environment": dict(os.environ), "umask": mask}
    try:
        wire.send(peer, about, (_open(1), _open(2)))
    except OSError:
        return None
    began = False
    with _interrupting(peer):
        while True:
            message, _ = wire.receive(peer)
            if message is None:
                break
            if "waits" in message:
                print("compose: note: another run is in progress; waiting", file=sys.stderr)
            began = began or "began" in message
            if "code" in message:
                return int(message["code"])
    if not began:
        return None
    print("compose: the resident process ended in the middle of the run: run it again", file=sys.stderr)
    return 1


def _open(number: int) -> int:
    """Return an open file of this process, or the null device if it was closed."""
    try:
        os.fstat(number)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)
    return number


@contextmanager
def _interrupting(peer: socket.socket) -> Iterator[None]:
    """Pass Ctrl-C on; the second one ends the client at once, and the server then ends the run."""

    def handle(*_: Any) -> None:
        signal.signal(signal.SIGINT, before)
        with suppress(OSError):  # it has ended by itself
            wire.send(peer, {"interrupt": True})

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _server(name: str) -> socket.socket:
    """Connect to the server of this name; start it if there is none."""
    peer = connected(socket_path.address(name))
    if peer is not None:
        return peer
    with _exclusive_lock():
        peer = connected(socket_path.address(name))  # another client may have started it meanwhile
        if peer is not None:
            return peer
        for other in socket_path.folder().glob("*.sock"):  # of other environments or older files; one is enough
            stop(other)
        return _started(name)


def _started(name: str) -> socket.socket:
    path = socket_path.address(name)
    path.unlink(missing_ok=True)  # what a killed server left
    log = os.open(socket_path.folder() / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "composer.cli.resident", str(path)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True,
        )  # fmt: skip
    finally:
        os.close(log)
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        peer = connected(path)
        if peer is not None:
            return peer
        time.sleep(0.01)
    raise ComposerError(
        "--warm", None, f"the resident process did not start: {socket_path.folder() / 'log.txt'} may say why"
    )


@contextmanager
def _exclusive_lock() -> Iterator[None]:
    """Keep two first calls from starting two servers."""
    handle = os.open(socket_path.folder() / "lock", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def connected(path: Path) -> socket.socket | None:
    """Connect to the server at a socket.

    Args:
        path: Path of the socket.

    Returns:
        The connection, or None if no process listens.

    Raises:
        ComposerError: Another user's process listens.
    """
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        peer.connect(str(path))
    except OSError:
        peer.close()
        return None
    if wire.owner(peer) not in (None, os.getuid()):
        peer.close()
        raise ComposerError("--warm", None, f"somebody else listens at {path}")
    return peer


def stop(path: Path) -> bool:
    """Ask a server to end after its current run.

    Args:
        path: Path of its socket.

    Returns:
        Whether a server listened.
    """
    peer = connected(path)
    if peer is None:
        path.unlink(missing_ok=True)
        return False
    with peer:
        wire.send(peer, {"stop": True})
        wire.receive(peer)
    return True


def status() -> list[dict[str, Any]]:
    """Ask each server for its state.

    Returns:
        The states, as `Server.state` makes them.
    """
    states = []
    for path in sorted(socket_path.folder().glob("*.sock")):
        peer = connected(path)
        if peer is not None:
            with peer:
                wire.send(peer, {"status": True})
                states.append(wire.receive(peer)[0] or {})
    return states


def warm_command(words: list[str]) -> int:
    """Run `compose warm status` or `compose warm stop`.

    Args:
        words: The words after `warm`.

    Returns:
        The exit code.

    Raises:
        ComposerError: Other words follow.
    """
    if words not in (["status"], ["stop"]):
        raise ComposerError("warm", " ".join(words) or None, "say `compose warm status` or `compose warm stop`")
    servers = status()
    if words == ["stop"]:
        for path in socket_path.folder().glob("*.sock"):
            stop(path)
    lines = []
    for server in servers:
        left = (
            "at work"
            if server["busy"]
            else f"ends in {max(0, server['idle'] - (time.time() - server['since']) / 60):.0f} min"
        )
        lines.append(f"process {server['pid']}: {server['runs']} runs, {'stopped' if words == ['stop'] else left}")
    console.report_facts({"processes": servers}, "\n".join(lines) or "no resident process")
    return 0
