"""What `compose --warm …` does instead of the run: hand it to the server, and be its terminal.

Imports neither torch nor Hydra, so that an answer comes as soon as the run is through.
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
SOON = 20


def call(argv: list[str]) -> int:
    """Run a command line in the server, which is started where there is none; the exit code."""
    name = socket_path.key()
    for _ in range(3):
        peer = _server(name)
        with peer:
            code = _run(peer, argv)
        if code is not None:
            return code
    raise ComposerError(
        "--warm", None, "the resident process ends as soon as it is asked: run without --warm to see why"
    )


def _run(peer: socket.socket, argv: list[str]) -> int | None:
    """None: the server left before it began."""
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
                print("compose: note: another run is at it; waiting", file=sys.stderr)
            began = began or "began" in message
            if "code" in message:
                return int(message["code"])
    if not began:
        return None
    print("compose: the resident process ended in the middle of the run: run it again", file=sys.stderr)
    return 1


def _open(number: int) -> int:
    """A file of ours, or where it was closed, nowhere."""
    try:
        os.fstat(number)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)
    return number


@contextmanager
def _interrupting(peer: socket.socket) -> Iterator[None]:
    """Hand Ctrl-C on; the second one ends the client at once, upon which the server drops the run."""

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
    """A connection to the server of this name, started if need be."""
    found = connected(socket_path.address(name))
    if found is not None:
        return found
    with _alone():
        found = connected(socket_path.address(name))  # somebody else may have started it meanwhile
        if found is not None:
            return found
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
    until = time.monotonic() + SOON
    while time.monotonic() < until and process.poll() is None:
        found = connected(path)
        if found is not None:
            return found
        time.sleep(0.01)
    raise ComposerError(
        "--warm", None, f"the resident process did not start: {socket_path.folder() / 'log.txt'} may say why"
    )


@contextmanager
def _alone() -> Iterator[None]:
    """Two first calls must not start two servers."""
    handle = os.open(socket_path.folder() / "lock", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def connected(path: Path) -> socket.socket | None:
    """A connection to the server at a socket, None where nobody listens.

    Raises:
        ComposerError: somebody else listens.
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
    """Ask a server to end when it is through; False where none listens."""
    peer = connected(path)
    if peer is None:
        path.unlink(missing_ok=True)
        return False
    with peer:
        wire.send(peer, {"stop": True})
        wire.receive(peer)
    return True


def status() -> list[dict[str, Any]]:
    """What each server says of itself."""
    found = []
    for path in sorted(socket_path.folder().glob("*.sock")):
        peer = connected(path)
        if peer is not None:
            with peer:
                wire.send(peer, {"status": True})
                found.append(wire.receive(peer)[0] or {})
    return found


def asked(words: list[str]) -> int:
    """compose warm status|stop"""
    if words not in (["status"], ["stop"]):
        raise ComposerError("warm", " ".join(words) or None, "say `compose warm status` or `compose warm stop`")
    there = status()
    if words == ["stop"]:
        for path in socket_path.folder().glob("*.sock"):
            stop(path)
    lines = []
    for each in there:
        left = (
            "at work"
            if each["busy"]
            else f"ends in {max(0, each['idle'] - (time.time() - each['since']) / 60):.0f} min"
        )
        lines.append(f"process {each['pid']}: {each['runs']} runs, {'stopped' if words == ['stop'] else left}")
    console.report_facts({"processes": there}, "\n".join(lines) or "no resident process")
    return 0
