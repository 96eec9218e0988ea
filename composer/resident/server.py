"""The resident process runs one command line after the other and keeps the models between them.

Each runs as if in a new process. The resident process ends after idle minutes, on request, when a file that it runs has
changed, and after a run that failed: the cause may have broken the process too.
"""

from __future__ import annotations

import _thread
import contextlib
import gc
import os
import queue
import select
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from composer.resident import wire
from composer.resident.source_watch import Changes

#: Minutes without a run after which the process ends, and the variable that sets them.
IDLE, VARIABLE = 10.0, "COMPOSER_WARM_MINUTES"


@dataclass
class Job:
    """A command line whose client waits.

    Attributes:
        peer: Connection to the client.
        about: The client's message: argv, cwd, environment and umask.
        files: The client's stdout and stderr.
        interrupted: Whether the client passed Ctrl-C on, or is gone.
    """

    peer: socket.socket
    about: dict[str, Any]
    files: list[int]
    interrupted: bool = False

    def close(self) -> None:
        """Close the connection and the files."""
        for file in self.files:
            os.close(file)
        self.peer.close()


class Server:
    """Listens in a thread and runs command lines in the main thread, the only one that Python can interrupt.

    Args:
        path: Path of the socket.
        idle: Minutes without a run after which the process ends.
        run_line: Runs one command line and returns its exit code.
    """

    def __init__(self, path: Path, idle: float, run_line: Callable[[list[str]], int]) -> None:
        self.path, self.idle, self.run_line = path, idle, run_line
        self.jobs: queue.Queue[Job | None] = queue.Queue()
        self.runs, self.since = 0, time.time()
        self.current: Job | None = None
        self.changes = Changes()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o077)
        self.listener.bind(str(path))
        os.umask(mask)
        self.listener.listen()

    def serve(self) -> None:
        """Listen and run command lines until the process should end."""
        signal.signal(signal.SIGINT, self._interrupt)
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            while self._next():
                pass
        finally:
            self.path.unlink(missing_ok=True)  # before closing: a new client starts another server

    def _next(self) -> bool:
        """Run the next command line; return whether to go on."""
        try:
            job = self.jobs.get(timeout=self.idle * 60)
        except queue.Empty:
            return False
        if job is None or self.changes.detected():
            return False  # its client asks another server
        if _gone(job.peer):
            job.close()
            return True
        started = time.time()
        code = self._run(job)
        self.runs, self.since = self.runs + 1, time.time()
        with contextlib.suppress(OSError):
            wire.send(job.peer, {"code": code})
        job.close()
        _clear_caches()
        self.changes.look(started)
        return code != 1

    def _run(self, job: Job) -> int:
        try:
            with _as_if(job):
                try:
                    self.current = job
                    wire.send(job.peer, {"began": True})
                    threading.Thread(target=self._watch, args=(job,), daemon=True).start()
                    return self.run_line(job.about["argv"])
                except SystemExit as error:
                    return error.code if isinstance(error.code, int) else 1
                except KeyboardInterrupt:  # before the run could handle it, or again meanwhile
                    print("compose: interrupted", file=sys.stderr)
                    return 130
                finally:
                    self.current = None
        except KeyboardInterrupt:
            return 130
        except OSError:  # its folder or its client is gone
            return 1

    def _watch(self, job: Job) -> None:
        """Interrupt the run when its client passes Ctrl-C on, or is gone."""
        message: dict[str, Any] | None = {}
        while message is not None and self.current is job:
            try:
                message, _ = wire.receive(job.peer)
            except (OSError, ValueError):
                message = None
            if self.current is job:
                job.interrupted = True
                _thread.interrupt_main()

    def _interrupt(self, *_: Any) -> None:
        """Handle SIGINT: never between two runs, nor in another client's."""
        if self.current is not None and self.current.interrupted:
            raise KeyboardInterrupt

    def _accept(self) -> None:
        while True:
            peer, _ = self.listener.accept()
            threading.Thread(target=self._answer, args=(peer,), daemon=True).start()

    def _answer(self, peer: socket.socket) -> None:
        """Read a client's request; those of other users are ignored."""
        files: list[int] = []
        try:
            if wire.owner(peer) not in (None, os.getuid()):
                raise ValueError("another user")
            message, files = wire.receive(peer, files=2)
            if message is None:
                raise ValueError("no request")
            if "argv" in message and len(files) == 2:
                if self.current is not None or not self.jobs.empty():
                    wire.send(peer, {"waits": True})
                self.jobs.put(Job(peer, message, files))
                return
            wire.send(peer, self.state())
            if "stop" in message:
                self.jobs.put(None)
        except (OSError, ValueError):
            pass
        for file in files:
            os.close(file)
        peer.close()

    def state(self) -> dict[str, Any]:
        """Describe the process for `compose warm status`.

        Returns:
            `pid`, number of `runs`, whether it is `busy`, end of the last run (`since`, Unix time), and `idle` minutes.
        """
        return {
            "pid": os.getpid(),
            "runs": self.runs,
            "busy": self.current is not None,
            "since": self.since,
            "idle": self.idle,
        }


@contextlib.contextmanager
def _as_if(job: Job) -> Iterator[None]:
    """Take on the client's directory, environment, umask, stdout and stderr, and restore the server's afterwards."""
    environment, streams, arguments, path = dict(os.environ), (sys.stdout, sys.stderr), sys.argv[:], sys.path[:]
    kept = [os.dup(1), os.dup(2)]
    mask = os.umask(job.about["umask"])
    try:
        with warnings.catch_warnings():
            os.chdir(job.about["cwd"])
            _environ(job.about["environment"])
            for number, file in enumerate(job.files, 1):
                os.dup2(file, number)
            sys.stdout, sys.stderr = _stream(1), _stream(2)
            yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        sys.stdout, sys.stderr = streams
        for number, file in enumerate(kept, 1):
            os.dup2(file, number)
            os.close(file)
        sys.argv[:], sys.path[:] = arguments, path
        _environ(environment)
        os.umask(mask)
        os.chdir("/")


def _environ(values: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(values)


def _stream(number: int) -> TextIO:
    """Open stdout or stderr as Python itself does."""
    ours = (sys.__stdout__, sys.__stderr__)[number - 1]
    assert ours is not None  # the server starts with both
    stream = open(number, "w", encoding=ours.encoding, errors=ours.errors, closefd=False)  # noqa: SIM115
    stream.reconfigure(line_buffering=number == 2 or stream.isatty())
    return stream


#: Caches of what depends on the installed packages alone: the process ends when these change.
OF_PACKAGES = ("everything", "packaged_conf")


def _clear_caches() -> None:
    """Clear caches about directories, which may change until the next run; models check their files."""
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "composer":
            for key, value in list(vars(module).items()):
                if key not in OF_PACKAGES and callable(clear := getattr(value, "cache_clear", None)):
                    clear()
    gc.collect()


def _gone(peer: socket.socket) -> bool:
    ready, _, _ = select.select([peer], [], [], 0)
    return bool(ready) and not peer.recv(1, socket.MSG_PEEK)


def serve(path: Path, run_line: Callable[[list[str]], int]) -> None:
    """Listen at `path` until the process has been idle for long enough.

    Args:
        path: Path of the socket.
        run_line: Runs one command line and returns its exit code.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    Server(path, float(os.environ.get(VARIABLE) or IDLE), run_line).serve()
    os._exit(0)  # at once: nothing is unwritten, and threads of libraries may linger
