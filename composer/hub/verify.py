"""Whether the files in the hub's cache are what the hub sent: the cache names each by its hash."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from composer.checkpoints.fingerprints import file_sha256
from composer.hub.stored import repository_folder

#: Names of files in the cache: SHA-256 of a large file, or git's SHA-1 of a small one.
_SHA256, _SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Verified:
    """A file of a repository.

    Attributes:
        name: Its name, with the revision in front.
        state: `intact`, `damaged`, `missing`, or `unknown` if its hash is not known.
    """

    name: str
    state: str


def verify(name: str) -> list[Verified]:
    """Compare each file of a repository in the hub's cache with its hash. Works offline.

    Args:
        name: Hub id.

    Returns:
        The files.

    Raises:
        ComposerError: It is not in the cache.
    """
    files = []
    for revision in sorted((repository_folder(name) / "snapshots").glob("*")):
        for path in sorted(revision.rglob("*")):
            if path.is_symlink() or path.is_file():
                files.append(Verified(f"{revision.name[:12]}/{path.relative_to(revision).as_posix()}", _state(path)))
    return files


def _state(path: Path) -> str:
    blob = path.resolve()
    if not blob.is_file():
        return "missing"
    if _SHA256.fullmatch(blob.name):
        return "intact" if file_sha256(blob) == blob.name else "damaged"
    if _SHA1.fullmatch(blob.name):
        return "intact" if git_sha1(blob) == blob.name else "damaged"
    return "unknown"


def git_sha1(path: Path) -> str:
    """Compute the name that git gives to a file's content.

    Args:
        path: The file.
    """
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
