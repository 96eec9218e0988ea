"""Atomic writes, locks of directories, temporary directories, and the contents of PNG files."""

from __future__ import annotations

import io
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from composer.errors import Busy

if TYPE_CHECKING:
    from PIL.Image import Image

#: Prefix of the names of unfinished files.
TMP_PREFIX = ".draft-"


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is complete whenever it has its name, even after a crash.

    Args:
        path: The file. Directories above it are made.
        data: Its contents.

    Raises:
        OSError: The file cannot be written; no temporary file is left.
    """
    write_files(path.parent, {path.name: data})


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files so that each is complete whenever it has its name, even after a crash.

    All of them are written to temporary files beside them and flushed to the disk before the first one gets its name;
    they get their names in their order. Each directory is flushed once, at the end.

    Args:
        folder: Directory, which is made, as those above it.
        files: Contents by name; names may have directories.

    Raises:
        OSError: A file cannot be written; none of them is left. On a full disk, files of these names stay as they were.
    """
    parents = dict.fromkeys((folder / name).parent for name in files)
    drafts: dict[Path, Path] = {}
    try:
        for parent in parents:
            parent.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            path = folder / name
            drafts[path] = path.with_name(f"{TMP_PREFIX}{secrets.token_hex(8)}")
            with open(drafts[path], "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for path, draft in drafts.items():
            os.replace(draft, path)
            drafts[path] = path
    except BaseException:
        for unfinished in drafts.values():  # or files of a set that is incomplete
            unfinished.unlink(missing_ok=True)
        raise
    for parent in parents:
        fsync_dir(parent)


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Lock a directory against other single runs inside the context.

    The kernel releases the lock with the process, and no lock file is left. Nothing is locked on Windows, nor in a
    directory that cannot be opened, since nothing can be written there either.

    Args:
        folder: An existing directory.

    Raises:
        Busy: Another process holds the lock.
    """
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (ImportError, OSError, AttributeError):
        yield
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        reason = "another process is generating into it: wait for that, or name another folder"
        raise Busy("output.folder", folder, reason) from None
    finally:
        os.close(handle)


def fsync_dir(folder: Path) -> None:
    """Flush the entries of a directory to the disk, if the system can open directories.

    Args:
        folder: The directory.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (OSError, AttributeError):
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def scratch_directory() -> Iterator[Callable[[], Path]]:
    """Offer a temporary directory that is made on first use and removed at the end of the context.

    Yields:
        A function that returns the directory, the same one at each call.
    """
    directories: list[Path] = []

    def folder() -> Path:
        if not directories:
            directories.append(Path(tempfile.mkdtemp(prefix="composer-")))
        return directories[0]

    try:
        yield folder
    finally:
        for path in directories:
            _remove_directory(path)


def _remove_directory(path: Path) -> None:
    """Remove a directory of our own; an empty one in a tenth of the time of `shutil.rmtree`."""
    try:
        path.rmdir()
    except OSError:
        shutil.rmtree(path, ignore_errors=True)


def encode_png(image: Image) -> bytes:
    """Encode an image as PNG.

    Args:
        image: The image.

    Returns:
        The contents of the file.
    """
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
