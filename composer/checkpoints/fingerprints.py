"""Fingerprints that identify checkpoints and images independently of their names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from composer.checkpoints.checkpoint import Checkpoint

#: Bytes of a file that each sample covers.
SAMPLED_BYTES = 1 << 16
#: Evenly spaced samples of a file; files up to 4 MiB are read completely. Fine-tuning may change only some layers.
SAMPLES_PER_FILE = 64


def image_fingerprint(image: Any) -> str:
    """Hash the pixels of an image.

    Args:
        image: PIL image or array, or a tuple of these.

    Returns:
        SHA-256 of mode, size and pixels, in hexadecimal; of a tuple, that of its members' hashes.
    """
    if isinstance(image, tuple):
        return hashlib.sha256("".join(map(image_fingerprint, image)).encode()).hexdigest()
    layout = f"{getattr(image, 'mode', '')}{getattr(image, 'size', '')}{getattr(image, 'shape', '')}"
    return hashlib.sha256(layout.encode() + image.tobytes()).hexdigest()


def are_images(value: Any) -> bool:
    """Whether an input of a request is a tuple of images or arrays, one or a tuple for each generated image.

    Args:
        value: The input.
    """
    is_filled = isinstance(value, tuple) and bool(value)
    return is_filled and all(hasattr(image, "tobytes") or are_images(image) for image in value)


def checkpoint_fingerprint(checkpoint: Checkpoint, samples: int = SAMPLES_PER_FILE) -> Any:
    """Identify a checkpoint by the hub's commit, or by hashes of its local files.

    Args:
        checkpoint: The checkpoint.
        samples: Samples of each file, at least 2.

    Returns:
        Plain data for JSON: source and commit or a hash, the same for component overrides, and whether the safety
        checker is kept.
    """
    component_overrides = {
        name: component.commit or directory_fingerprint(component.folder, samples)
        for name, component in sorted(checkpoint.component_overrides.items())
    }
    base = (
        [checkpoint.source, checkpoint.commit] if checkpoint.commit else directory_fingerprint(checkpoint.path, samples)
    )
    return [base, component_overrides, checkpoint.safety_checker]


def directory_fingerprint(path: Path, samples: int = SAMPLES_PER_FILE) -> str:
    """Hash the names, the sizes and samples of the contents of a directory's files.

    Args:
        path: Directory or single file.
        samples: Samples of each file, at least 2.

    Returns:
        SHA-256 in hexadecimal, of the files as they are now.
    """
    return _hash_files(path, file_states(path), samples)


def file_states(path: Path) -> tuple[tuple[str, int, int], ...]:
    """List a directory's files with size and time of change, which show whether a file was replaced.

    Args:
        path: Directory or single file.

    Returns:
        Path, size in bytes and time of change in nanoseconds of each file, in order of the parts of its path.
    """
    if path.is_file():
        state = path.stat()
        return ((str(path), state.st_size, state.st_mtime_ns),)
    if not path.is_dir():
        return ()
    return tuple(sorted(_states_in(path), key=lambda state: os.path.normcase(state[0]).split(os.sep)))


def _states_in(folder: Path | str) -> Iterator[tuple[str, int, int]]:
    """Walk a directory. A sweep does so for each job; `Path.rglob` would take four times as long."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    yield from _states_in(entry.path)
            elif entry.is_file():
                state = entry.stat()
                yield entry.path, state.st_size, state.st_mtime_ns


@lru_cache(maxsize=64)
def _hash_files(path: Path, files: tuple[tuple[str, int, int], ...], samples: int) -> str:
    total = hashlib.sha256()
    for file, size in ((Path(name), size) for name, size, _ in files):
        total.update(f"{file.relative_to(path) if file != path else ''} {size}\0".encode())
        with open(file, "rb") as handle:
            for number in range(samples):
                handle.seek(max(size - SAMPLED_BYTES, 0) * number // (samples - 1))
                total.update(handle.read(SAMPLED_BYTES))
    return total.hexdigest()


def file_sha256(path: Path) -> str:
    """Hash the complete content of a file as it is now.

    Args:
        path: The file.

    Returns:
        SHA-256 in hexadecimal.
    """
    state = path.stat()
    return _sha256(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256(path: Path, size: int, written: int) -> str:
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()
