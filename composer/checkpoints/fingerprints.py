"""What tells models and images from others, whatever they are called."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from composer.checkpoints.checkpoint import Checkpoint

#: Bytes of a file that are looked at in each place. Layers that are tuned alone, such as attention, need not lie at its
#: ends.
PIECE = 1 << 16
#: Places in a file, evenly spaced: all of it up to 4 MiB.
PIECES = 64


def fingerprint(image: Any) -> str:
    """Of a PIL image or an array, by its pixels."""
    traits = f"{getattr(image, 'mode', '')}{getattr(image, 'size', '')}{getattr(image, 'shape', '')}"
    return hashlib.sha256(traits.encode() + image.tobytes()).hexdigest()


def are_images(value: Any) -> bool:
    """Whether a request's input is given for each image, as pixels."""
    return isinstance(value, tuple) and bool(value) and all(hasattr(each, "tobytes") for each in value)


def checkpoint_fingerprint(checkpoint: Checkpoint, pieces: int = PIECES) -> Any:
    """The hub's commit, or the sums of a local checkpoint's files; and the same for components from elsewhere."""
    component_overrides = {
        name: each.commit or directory_fingerprint(each.folder, pieces)
        for name, each in sorted(checkpoint.component_overrides.items())
    }
    own = (
        [checkpoint.source, checkpoint.commit] if checkpoint.commit else directory_fingerprint(checkpoint.path, pieces)
    )
    return [own, component_overrides, checkpoint.safety_checker]


def directory_fingerprint(path: Path, pieces: int = PIECES) -> str:
    """One sum over names, sizes and pieces of all files of a folder, or of a single file, as they are now."""
    return _sum_of(path, states(path), pieces)


def states(path: Path) -> tuple[tuple[Path, int, int], ...]:
    """Each file of a folder, or the single file, with its size and when it was written: what tells whether it is still
    the same.
    """
    files = (
        [path]
        if path.is_file()
        else sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    )
    return tuple((file, found.st_size, found.st_mtime_ns) for file in files for found in [file.stat()])


@lru_cache(maxsize=64)
def _sum_of(path: Path, files: tuple[tuple[Path, int, int], ...], pieces: int) -> str:
    total = hashlib.sha256()
    for file, size, _ in files:
        total.update(f"{file.relative_to(path) if file != path else ''} {size}\0".encode())
        with open(file, "rb") as handle:
            for place in range(pieces):
                handle.seek(max(size - PIECE, 0) * place // (pieces - 1))
                total.update(handle.read(PIECE))
    return total.hexdigest()
