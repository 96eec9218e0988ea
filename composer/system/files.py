"""Files that appear whole or not at all, and folders that go again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from composer.errors import Busy

#: What the names of unfinished files begin with.
DRAFT = ".draft-"


def write(path: Path, data: bytes) -> None:
    """Temporary name in the same folder, flush to disk, rename: no half file ever bears the final name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=DRAFT, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(draft, 0o666 & ~_umask())
        os.replace(draft, path)
        settle(path.parent)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other single runs out of a folder; the kernel ends it with the process, and no file is left.

    Raises:
        Busy: another process is at it.
    """
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (
        ImportError,
        OSError,
        AttributeError,
    ):  # Windows, or a folder that can't be opened: nothing can be written there either
        yield
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Busy(
            "output.folder", folder, "another process is generating into it: wait for that, or name another folder"
        ) from None
    finally:
        os.close(handle)


def settle(folder: Path) -> None:
    """Have the folder's own entries on the disk, where the system can open folders."""
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
def scratch() -> Iterator[Callable[[], Path]]:
    """A function that makes a temporary folder when it is first called; the folder is removed at the end."""
    with ExitStack() as stack:

        @cache
        def folder() -> Path:
            return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="composer-")))

        yield folder
