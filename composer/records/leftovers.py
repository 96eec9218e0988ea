"""Files that a run writes besides its images and its record: a grid, previews, traces, files of callbacks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

#: How deep folders below a run's own are looked into, and files of a folder that are named one by one.
DEEPEST, FEW = 3, 4
RECORDS = ("run.json", "config.yaml")


def stamps(folder: Path) -> dict[Path, tuple[int, int]]:
    """List the files in a directory with a stamp that changes when a file is written.

    Args:
        folder: Directory of the run.

    Returns:
        File → inode and time of change in nanoseconds.
    """
    return {Path(entry.path): ((state := entry.stat()).st_ino, state.st_mtime_ns) for entry in _files(folder, DEEPEST)}


def written(folder: Path, before: Mapping[Path, tuple[int, int]], images: Collection[Path]) -> list[Path]:
    """List the files that a run wrote, apart from its images and its record.

    Args:
        folder: Directory of the run.
        before: Stamps of the files before the run.
        images: Files of the run's images, clips and sounds, and directories of frames.

    Returns:
        Files in order of path.
    """
    known = {*images, *(folder / name for name in RECORDS)}
    new = (file for file, stamp in stamps(folder).items() if before.get(file) != stamp)
    return sorted(file for file in new if file not in known and file.parent not in known)


def named(folder: Path, files: list[Path]) -> str:
    """Name files in a few words, such as ``grid.png, trace.csv, latents/ (50 files)``.

    Args:
        folder: Directory of the run.
        files: The files.

    Returns:
        The names; a directory with many files is named once.
    """
    counts = Counter(file.parent for file in files)
    many = {path for path, count in counts.items() if count > FEW and path != folder}
    names = dict.fromkeys(file.parent if file.parent in many else file for file in files)
    return ", ".join(
        f"{path.relative_to(folder)}" + (f"{os.sep} ({counts[path]} files)" if path in many else "") for path in names
    )


def _files(folder: Path, deep: int) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                yield entry
            elif deep > 1 and entry.is_dir(follow_symlinks=False) and os.access(entry.path, os.R_OK | os.X_OK):
                yield from _files(Path(entry.path), deep - 1)
