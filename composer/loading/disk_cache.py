"""What is dear to make and can be made again: weights in other numbers, converted models. Found by content, capped in
size.

It lies in the user's cache folder (COMPOSER_CACHE says where instead) and takes at most COMPOSER_CACHE_GIB, of which
what was not
used for longest goes first. An entry is a folder that appears whole or not at all. Imports no torch.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from composer.errors import ComposerError
from composer.system.files import TMP_PREFIX, fsync_dir, write_atomically

#: Most gibibytes, where the environment does not say.
MOST = 30.0
#: Sums of files, by what the file system says of them.
SUMS = "sums"
#: Seconds for which a file must have been left alone for its sum to be believed next time.
CALM = 2.0
#: Seconds after which a draft is taken for the leavings of a process that was killed.
STALE = 24 * 3600
_BLOB = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """size: bytes. used: seconds since 1970."""

    kind: str
    key: str
    path: Path
    size: int
    used: float


def root() -> Path:
    """The cache's folder; it need not be there."""
    import platformdirs

    return Path(os.environ.get("COMPOSER_CACHE") or platformdirs.user_cache_path("composer")).expanduser().absolute()


def folder(kind: str) -> Path:
    """Where entries of a kind lie."""
    return root() / kind


def keep(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder of an entry, which `make` fills when there is none.

    Raises:
        OSError: it can't be written.
    """
    place = folder(kind) / key
    if not place.is_dir():
        _make(place, make)
    os.utime(place)
    return place


def has(kind: str, key: str) -> bool:
    return (folder(kind) / key).is_dir()


def _make(place: Path, make: Callable[[Path], None]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = Path(tempfile.mkdtemp(prefix=TMP_PREFIX, dir=place.parent))
    try:
        make(draft)
        for file in filter(Path.is_file, draft.rglob("*")):
            with file.open("rb+") as handle:
                os.fsync(handle.fileno())
        fsync_dir(draft)
        try:
            draft.rename(place)
        except OSError:
            if not place.is_dir():  # else another process was faster, to the same effect
                raise
        fsync_dir(place.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    shrink(sparing=place)


def content(where: Path) -> str:
    """A sum over the names and contents of a component's files: json and weights; files that did not change are not
    read again.
    """
    total = hashlib.sha256()
    for file in sorted(where.iterdir() if where.is_dir() else [where]):
        if file.suffix in (".json", ".safetensors") and file.is_file():
            total.update(f"{file.name} {_sum(file)}\0".encode())
    return total.hexdigest()


def _sum(file: Path) -> str:
    """SHA-256 of a file. The hub's cache names its files by it."""
    real = file.resolve()
    if real.parent.name == "blobs" and _BLOB.fullmatch(real.name):
        return real.name
    state = real.stat()
    traits = (str(real), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev)
    known = folder(SUMS) / hashlib.sha256(repr(traits).encode()).hexdigest()
    if known.is_file() and _BLOB.fullmatch(found := known.read_text("ascii", errors="replace")):
        return found
    with real.open("rb") as handle:
        found = (
            hashlib.file_digest(handle, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(handle)
        )
    if time.time() - state.st_mtime > CALM and real.stat().st_mtime_ns == state.st_mtime_ns:
        write_atomically(known, found.encode())
    return found


def _digest(handle) -> str:  # Python 3.10
    total = hashlib.sha256()
    while block := handle.read(1 << 20):
        total.update(block)
    return total.hexdigest()


def entries() -> list[Entry]:
    """All there is, what was used last first."""
    places = [
        place
        for kind in _folders(root())
        if kind.name != SUMS
        for place in _folders(kind)
        if not place.name.startswith(TMP_PREFIX)
    ]
    found = [Entry(place.parent.name, place.name, place, _size(place), place.stat().st_mtime) for place in places]
    return sorted(found, key=lambda entry: -entry.used)


def shrink(sparing: Path | None = None) -> None:
    """Remove what was not used for longest until the rest fits, and what killed processes left."""
    for place in (place for kind in _folders(root()) for place in _folders(kind)):
        if place.name.startswith(TMP_PREFIX) and time.time() - place.stat().st_mtime > STALE:
            shutil.rmtree(place, ignore_errors=True)
    there, most = entries(), limit()
    total = sum(entry.size for entry in there)
    for entry in reversed(there):
        if total > most and entry.path != sparing:
            remove(entry.path)
            total -= entry.size


def remove(place: Path) -> None:
    """Have an entry out of sight at once, whatever becomes of its files."""
    gone = place.with_name(f"{TMP_PREFIX}{place.name}-{os.getpid()}")
    try:
        place.rename(gone)
    except FileNotFoundError:
        return
    shutil.rmtree(gone, ignore_errors=True)


def clear() -> int:
    """Remove everything; the bytes that were freed."""
    freed = sum(entry.size for entry in entries())
    for kind in _folders(root()):
        shutil.rmtree(kind, ignore_errors=True)
    return freed


def limit() -> int:
    """Bytes that the cache may take."""
    given = os.environ.get("COMPOSER_CACHE_GIB", "")
    try:
        most = float(given) if given else MOST
        if not most >= 0:
            raise ValueError
    except ValueError:
        raise ComposerError("COMPOSER_CACHE_GIB", given, "must be a number of gibibytes, 0 or more") from None
    return int(min(most, 2**40) * 2**30)


def _folders(place: Path) -> list[Path]:
    return [each for each in place.iterdir() if each.is_dir() and not each.is_symlink()] if place.is_dir() else []


def _size(place: Path) -> int:
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
