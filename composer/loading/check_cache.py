"""Results of checks that need torch, kept on the disk so that a check of the same settings answers without it.

A result is found by what it depends on: the settings, the states of the files, and the environment, which is the
installed packages, composer's own files, the processor and the devices. Those of `tested_results` come with composer.
Imports no torch.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.loading.disk_cache import folder
from composer.loading.tested_results import find_tested
from composer.system.packages import installed_packages
from composer.system.processor import cpu_name

if TYPE_CHECKING:
    import sqlite3

KIND = "checks"
#: Largest number of results; the oldest are removed first.
MAX_RESULTS = 20_000
#: Seconds to wait for another process that writes.
WAIT = 5.0
#: Environment variables that change which devices torch finds, or which plugins are used.
VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "COMPOSER_PLUGINS")
#: Files of a package that results depend on, and those of the checkpoints that come with composer.
CODE, CHECKPOINTS = (".py", ".yaml"), (".json", ".safetensors")
#: Device files of GPUs, and the text in which NVIDIA's driver states its version.
GPU_FILES, GPU_DRIVER = ("nvidia", "kfd", "dxg", "dri"), Path("/proc/driver/nvidia/version")


class _Database:
    """The file of one process; a process that was forked opens it again."""

    def __init__(self) -> None:
        self._opened: tuple[int, Path] | None = None
        self._connection: sqlite3.Connection | None = None

    def connection(self) -> sqlite3.Connection | None:
        """The connection; None if the cache can't be used here."""
        opened = os.getpid(), folder(KIND)
        if self._opened != opened:
            self._opened, self._connection = opened, _connect(opened[1])
        return self._connection


_database = _Database()
#: What `recording` collects; None outside of it.
_recorded: dict[tuple[str, str], Any] | None = None


def recall(kind: str, facts: Any) -> Any:
    """Find a result.

    Args:
        kind: Kind of the result, such as ``schedule``.
        facts: What it depends on beside the environment, as data with a complete ``repr``.

    Returns:
        The result, as it was kept; None if there is none.
    """
    if _recorded is not None:
        return _recorded.get((kind, repr(facts)))
    kept = _kept(kind, facts)
    return find_tested(kind, facts) if kept is None else kept


def _kept(kind: str, facts: Any) -> Any:
    """The result of an earlier trial on this machine."""
    import sqlite3

    connection = _database.connection()
    if connection is None:
        return None
    with suppress(sqlite3.Error, ValueError):
        row = connection.execute("SELECT result FROM results WHERE key = ?", (_key(kind, facts),)).fetchone()
        return None if row is None else json.loads(row[0])
    return None


@contextmanager
def recording(results: dict[tuple[str, str], Any]) -> Iterator[None]:
    """Find and keep results in a dictionary inside the context, and nowhere else.

    Args:
        results: Kind, and ``repr`` of what it depends on → the result; those that are kept are added.

    Yields:
        Nothing.
    """
    global _recorded
    _recorded = results
    try:
        yield
    finally:
        _recorded = None


def keep(kind: str, facts: Any, result: Any) -> None:
    """Keep a result; a cache that can't be written keeps nothing.

    Args:
        kind: As for `recall`.
        facts: As for `recall`.
        result: Plain data for JSON, not None.
    """
    import sqlite3

    if _recorded is not None:
        _recorded[kind, repr(facts)] = result
        return
    connection = _database.connection()
    if connection is not None:
        with suppress(sqlite3.Error):
            connection.execute(
                "INSERT OR REPLACE INTO results (key, result) VALUES (?, ?)", (_key(kind, facts), json.dumps(result))
            )


def recall_or(kind: str, facts: Any, compute: Callable[[], Any]) -> Any:
    """Find a result, or compute and keep it.

    Args:
        kind: As for `recall`.
        facts: As for `recall`; None if the result can't be found again.
        compute: Computes it, as plain data for JSON.

    Returns:
        The result.
    """
    if facts is None:
        return compute()
    result = recall(kind, facts)
    if result is None:
        result = compute()
        keep(kind, facts, result)
    return result


def _connect(directory: Path) -> sqlite3.Connection | None:
    import sqlite3

    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        connection = sqlite3.connect(
            directory / "results.sqlite", timeout=WAIT, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA synchronous = OFF")  # what a crash loses is computed again
        connection.execute("CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, result TEXT NOT NULL)")
        (last,) = connection.execute("SELECT COALESCE(MAX(rowid), 0) FROM results").fetchone()
        if last > MAX_RESULTS:
            connection.execute("DELETE FROM results WHERE rowid <= ?", (last - MAX_RESULTS,))
    except (OSError, sqlite3.Error):
        return None
    atexit.register(connection.close)
    return connection


def _key(kind: str, facts: Any) -> str:
    return hashlib.sha256(repr((kind, environment(), facts)).encode("utf-8", "surrogatepass")).hexdigest()


@cache
def environment() -> str:
    """Identify what results depend on beside the settings.

    Returns:
        SHA-256, in hexadecimal, of the states of installed packages and of composer's files, of the interpreter, the
        processor, and files and variables that say which devices there are.
    """
    facts = (
        sys.version, platform.platform(), cpu_name(), sorted(installed_packages(), key=str),
        sorted(_sources("composer", (*CODE, *CHECKPOINTS))),
        sorted(_editable("diffusers")), sorted(_editable("transformers")),
        sorted(name for name in _names(Path("/dev")) if name.startswith(GPU_FILES)), _text(GPU_DRIVER),
        [os.environ.get(name) for name in VARIABLES],
    )  # fmt: skip
    return hashlib.sha256(repr(facts).encode("utf-8", "surrogatepass")).hexdigest()


def _sources(package: str, suffixes: tuple[str, ...] = CODE) -> Iterator[tuple[str, int, int]]:
    """States of a package's files."""
    spec = find_spec(package)
    pending = [] if spec is None or spec.origin is None else [os.path.dirname(spec.origin)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.name.endswith(suffixes):
                    state = entry.stat()
                    yield entry.path, state.st_size, state.st_mtime_ns
                elif entry.is_dir(follow_symlinks=False) and entry.name != "__pycache__":
                    pending.append(entry.path)


def _editable(package: str) -> Iterator[tuple[str, int, int]]:
    """States of the files of a library that is installed in place, and can change without being installed again."""
    spec = find_spec(package)
    if spec is not None and spec.origin is not None and "-packages" not in spec.origin:
        yield from _sources(package)


def _names(path: Path) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
