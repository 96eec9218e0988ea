"""The resident process: one command line after the other, each as if it were a process of its own, the models kept
between them.

It ends after idle minutes, when asked to, when a file that it runs has changed, and after a run that failed: whatever
broke
the run may have broken the process.
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

#: Minutes without a run after which the process ends, and the variable that says otherwise.
IDLE, VARIABLE = 10.0, "COMPOSER_WARM_MINUTES"


@dataclass
class Job:
    """A command line that somebody waits for. files: the client's stdout and stderr."""

    peer: socket.socket
    about: dict[str, Any]
    files: list[int]
    interrupted: bool = False

    def close(self) -> None:
        for file in self.files:
            os.close(file)
        self.peer.close()


class Server:
    """Listens in a thread; runs in the main one, where alone Python can be interrupted."""

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
        signal.signal(signal.SIGINT, self._interrupt)
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            while self._next():
                pass
        finally:
            self.path.unlink(missing_ok=True)  # before closing: who comes now starts another

    def _next(self) -> bool:
        """Run what comes next; whether to go on."""
        try:
            job = self.jobs.get(timeout=self.idle * 60)
        except queue.Empty:
            return False
        if job is None or self.changes.found():
            return False  # a client that was not begun with asks another server
        if _gone(job.peer):
            job.close()
            return True
        started = time.time()
        code = self._run(job)
        self.runs, self.since = self.runs + 1, time.time()
        with contextlib.suppress(OSError):
            wire.send(job.peer, {"code": code})
        job.close()
        _tidy()
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
                except KeyboardInterrupt:  # before the run could deal with it, or again while it did
                    print("compose: interrupted", file=sys.stderr)
                    return 130
                finally:
                    self.current = None
        except KeyboardInterrupt:
            return 130
        except OSError:  # its folder or its client is gone
            return 1

    def _watch(self, job: Job) -> None:
        """Interrupt the run when its client says so, or is no more."""
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
        """Ctrl-C, but never between two runs nor in another's."""
        if self.current is not None and self.current.interrupted:
            raise KeyboardInterrupt

    def _accept(self) -> None:
        while True:
            peer, _ = self.listener.accept()
            threading.Thread(target=self._hear, args=(peer,), daemon=True).start()

    def _hear(self, peer: socket.socket) -> None:
        """What a client wants; who is not the owner is not heard."""
        files: list[int] = []
        try:
            if wire.owner(peer) not in (None, os.getuid()):
                raise ValueError("not ours")
            message, files = wire.receive(peer, files=2)
            if message is None:
                raise ValueError("nothing was said")
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
        return {
            "pid": os.getpid(),
            "runs": self.runs,
            "busy": self.current is not None,
            "since": self.since,
            "idle": self.idle,
        }


@contextlib.contextmanager
def _as_if(job: Job) -> Iterator[None]:
    """Be the client's process, as far as a run can tell: its folder, environment, umask, stdout and stderr; and
    ourselves again.
    """
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
    """As Python opens stdout and stderr itself."""
    ours = (sys.__stdout__, sys.__stderr__)[number - 1]
    stream = open(number, "w", encoding=ours.encoding, errors=ours.errors, closefd=False)  # noqa: SIM115
    stream.reconfigure(line_buffering=number == 2 or stream.isatty())
    return stream


def _tidy() -> None:
    """Forget what is remembered of folders and packages, which may be others next time; models know their files."""
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "composer":
            for value in list(vars(module).values()):
                if callable(clear := getattr(value, "cache_clear", None)):
                    clear()
    gc.collect()


def _gone(peer: socket.socket) -> bool:
    ready, _, _ = select.select([peer], [], [], 0)
    return bool(ready) and not peer.recv(1, socket.MSG_PEEK)


def serve(path: Path, run_line: Callable[[list[str]], int]) -> None:
    """Listen at `path` until the process has been idle for long enough.

    Args:
        run_line: runs one command line and returns its exit code.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    Server(path, float(os.environ.get(VARIABLE) or IDLE), run_line).serve()
    os._exit(0)  # at once: nothing of ours is unwritten, and threads of libraries may linger
