"""Atomic writes, locks of directories, temporary directories, and the contents of PNG files."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from composer.errors import Busy

if TYPE_CHECKING:
    from PIL.Image import Image

#: Prefix of the names of unfinished files.
TMP_PREFIX = ".draft-"


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is complete whenever it has its name, even after a crash.

    The data is written to a temporary file in the same directory, flushed to the disk and renamed.

    Args:
        path: The file. Directories above it are made.
        data: Its contents.

    Raises:
        OSError: The file cannot be written; no temporary file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=TMP_PREFIX, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        fsync_dir(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def scratch_directory() -> Iterator[Callable[[], Path]]:
    """Offer a temporary directory that is made on first use and removed at the end of the context.

    Yields:
        A function that returns the directory, the same one at each call.
    """
    with ExitStack() as stack:

        @cache
        def folder() -> Path:
            return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="composer-")))

        yield folder


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
