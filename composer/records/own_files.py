"""Files that a run wrote, recognised by its record: by their names and the hashes of their content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from composer.errors import ComposerError
from composer.records import metadata
from composer.records.files import literal
from composer.system.files import TMP_PREFIX

RECORD = "run.json"


def hash_of(path: Path) -> str:
    """Compute the hash by which records name the content of a file.

    Args:
        path: The file.
    """
    digest_of_file = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest_of_file.update(block)
    return digest_of_file.hexdigest()


def own_files(folder: Path, record: Mapping[str, Any]) -> Iterator[Path]:
    """Find the files that a run wrote, apart from its record; not those that were changed since, and no links.

    Args:
        folder: Directory of the run.
        record: Its record. One of an earlier version names no files: then these are the images, clips and sounds that
            have the same record in them, and the config that it has.

    Yields:
        Files in the directory or below it.
    """
    hashes = record.get("files")
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name == RECORD or not path.is_file() or path.is_symlink():
            continue
        if path.name.startswith(TMP_PREFIX):
            yield path
        elif isinstance(hashes, Mapping):
            if name in hashes and hashes[name] == hash_of(path):
                yield path
        elif _is_known(path, name, record):
            yield path


def remove_own_files(folder: Path, record: Mapping[str, Any]) -> int:
    """Remove the files that a run wrote, its record last, and the directories that are empty then.

    Args:
        folder: Directory of the run.
        record: Its record.

    Returns:
        Number of other files, which stay.
    """
    for path in list(own_files(folder, record)):
        path.unlink()
    (folder / RECORD).unlink()
    for path in sorted((path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink()), reverse=True):
        remove_empty(path)
    others = sum(path.is_symlink() or not path.is_dir() for path in folder.rglob("*"))
    remove_empty(folder)
    return others


def remove_empty(folder: Path) -> bool:
    """Remove a directory if it is empty.

    Args:
        folder: The directory.

    Returns:
        Whether it was.
    """
    try:
        folder.rmdir()
    except OSError:
        return False  # other files remain in it
    return True


def _is_known(path: Path, name: str, record: Mapping[str, Any]) -> bool:
    """Whether a file has the record of an earlier version in it, or its config."""
    try:
        if name == "config.yaml":
            return bool(yaml.safe_load(path.read_text("utf-8")) == literal(record.get("config")))
        inside = metadata.read(path)
    except (OSError, ValueError, yaml.YAMLError, ComposerError):
        return False
    return bool(record) and all(inside.get(key) == value for key, value in record.items() if key in metadata.SHAPE)
