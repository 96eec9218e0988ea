"""A disk cache of converted weights and models, found by content and limited in size. Imports no torch.

It is stored in the user's cache directory, or in COMPOSER_CACHE, and takes at most COMPOSER_CACHE_GIB. The entries
that were unused for longest are evicted first. An entry is a directory that appears complete or not at all.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from composer.errors import ComposerError
from composer.system.files import TMP_PREFIX, fsync_dir, write_atomically

#: Limit in GiB if COMPOSER_CACHE_GIB is not set.
DEFAULT_LIMIT_GIB = 30.0
#: Directory of hashes of files, by the state of the file.
HASHES = "sums"
#: Age of a file from which its hash is kept; a younger one could still change within the clock's resolution.
MIN_AGE_SECONDS = 2.0
#: Age of a draft from which it was left by a killed process.
STALE_SECONDS = 24 * 3600
_BLOB = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """A directory in the cache.

    Attributes:
        kind: Kind of the entry, such as ``weights``.
        key: Name that identifies its content.
        path: The directory.
        size: Bytes of its files.
        used: Time of the last use, in seconds since 1970.
    """

    kind: str
    key: str
    path: Path
    size: int
    used: float


def root() -> Path:
    """Return the directory of the cache, which may not exist yet."""
    import platformdirs

    return Path(os.environ.get("COMPOSER_CACHE") or platformdirs.user_cache_path("composer")).expanduser().absolute()


def folder(kind: str) -> Path:
    """Return the directory of all entries of a kind.

    Args:
        kind: Kind of the entries.
    """
    return root() / kind


def get_or_create(kind: str, key: str, create: Callable[[Path], None]) -> Path:
    """Return the directory of an entry, which is created if it does not exist.

    Args:
        kind: Kind of the entry.
        key: Name that identifies its content.
        create: Writes the content into an empty directory.

    Returns:
        The directory.

    Raises:
        OSError: The cache can't be written.
    """
    path = folder(kind) / key
    if not path.is_dir():
        _create(path, create)
    os.utime(path)
    return path


def used(path: Path) -> None:
    """Note that an entry was used just now, so that others are removed before it.

    Args:
        path: Directory of the entry.

    Raises:
        OSError: It was removed meanwhile.
    """
    os.utime(path)


def _create(path: Path, create: Callable[[Path], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = Path(tempfile.mkdtemp(prefix=TMP_PREFIX, dir=path.parent))
    try:
        create(draft)
        for file in filter(Path.is_file, draft.rglob("*")):
            with file.open("rb+") as handle:
                os.fsync(handle.fileno())
        fsync_dir(draft)
        try:
            draft.rename(path)
        except OSError:
            if not path.is_dir():  # else another process created the same entry
                raise
        fsync_dir(path.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    evict(keep=path)


def content_hash(path: Path) -> str:
    """Hash the names and contents of a component's JSON and weights files; unchanged files are not read again.

    Args:
        path: Directory of the component, or a single file.

    Returns:
        SHA-256 in hexadecimal.
    """
    total = hashlib.sha256()
    for file in sorted(path.iterdir() if path.is_dir() else [path]):
        if file.suffix in (".json", ".safetensors") and file.is_file():
            total.update(f"{file.name} {_hash_file(file)}\0".encode())
    return total.hexdigest()


def _hash_file(file: Path) -> str:
    """Return the SHA-256 of a file, which is its name in the hub's cache."""
    real = file.resolve()
    if real.parent.name == "blobs" and _BLOB.fullmatch(real.name):
        return real.name
    state = real.stat()
    traits = (str(real), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev)
    known = folder(HASHES) / hashlib.sha256(repr(traits).encode()).hexdigest()
    if known.is_file() and _BLOB.fullmatch(cached := known.read_text("ascii", errors="replace")):
        return cached
    with real.open("rb") as handle:
        digest = _digest(handle)
    if time.time() - state.st_mtime > MIN_AGE_SECONDS and real.stat().st_mtime_ns == state.st_mtime_ns:
        write_atomically(known, digest.encode())
    return digest


def _digest(handle: BinaryIO) -> str:
    if sys.version_info >= (3, 11):
        return hashlib.file_digest(handle, "sha256").hexdigest()
    total = hashlib.sha256()
    while block := handle.read(1 << 20):
        total.update(block)
    return total.hexdigest()


def entries() -> list[Entry]:
    """List all entries, the last used one first."""
    paths = [
        path
        for kind in _folders(root())
        if kind.name != HASHES
        for path in _folders(kind)
        if not path.name.startswith(TMP_PREFIX)
    ]
    unsorted = [Entry(path.parent.name, path.name, path, _size(path), path.stat().st_mtime) for path in paths]
    return sorted(unsorted, key=lambda entry: -entry.used)


def evict(keep: Path | None = None) -> None:
    """Remove the entries that were unused for longest until the limit is kept, and files of killed processes.

    Args:
        keep: Entry that stays, even if it is larger than the limit.
    """
    for path in (path for kind in _folders(root()) for path in _folders(kind)):
        if path.name.startswith(TMP_PREFIX) and time.time() - path.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
    existing, max_bytes = entries(), limit()
    total = sum(entry.size for entry in existing)
    for entry in reversed(existing):
        if total > max_bytes and entry.path != keep:
            remove(entry.path)
            total -= entry.size


def remove(path: Path) -> None:
    """Remove an entry; other processes do not find it from the first moment on.

    Args:
        path: Directory of the entry.
    """
    hidden = path.with_name(f"{TMP_PREFIX}{path.name}-{os.getpid()}")
    try:
        path.rename(hidden)
    except FileNotFoundError:
        return
    shutil.rmtree(hidden, ignore_errors=True)


def clear() -> int:
    """Remove all entries.

    Returns:
        Bytes that were freed.
    """
    freed = sum(entry.size for entry in entries())
    for kind in _folders(root()):
        shutil.rmtree(kind, ignore_errors=True)
    return freed


def limit() -> int:
    """Return the limit of the cache in bytes.

    Raises:
        ComposerError: COMPOSER_CACHE_GIB is no number of GiB.
    """
    setting = os.environ.get("COMPOSER_CACHE_GIB", "")
    try:
        gibibytes = float(setting) if setting else DEFAULT_LIMIT_GIB
        if not gibibytes >= 0:
            raise ValueError
    except ValueError:
        raise ComposerError("COMPOSER_CACHE_GIB", setting, "must be a number of gibibytes, 0 or more") from None
    return int(min(gibibytes, 2**40) * 2**30)


def _folders(path: Path) -> list[Path]:
    return [child for child in path.iterdir() if child.is_dir() and not child.is_symlink()] if path.is_dir() else []


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
