"""Options of loading a checkpoint, and the key by which loaded checkpoints are cached."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.components import Component

if TYPE_CHECKING:
    import torch

    from composer.loading.precision import DtypePlan

#: Path, size in bytes and time of change in nanoseconds of a file.
FileState = tuple[str, int, int]
#: Library, class, path or hub id, subfolder, commit, variant and directory of JSON files of a component from elsewhere.
OverrideKey = tuple[str, str, str, str, str | None, str | None, str | None]


@dataclass(frozen=True)
class LoadOptions:
    """Options that determine how a checkpoint is loaded; part of the cache key.

    Attributes:
        dtypes: Compute and storage dtype of each component.
        device: Device that the weights are loaded to.
        variant: File variant such as ``fp16``; None for the default files.
        cache_converted: Whether to keep converted weights in the disk cache.
        offloaded: Whether ``device`` only stores the weights between uses. Memory layout, and therefore the last bits
            of results, may then differ.
    """

    dtypes: DtypePlan
    device: torch.device
    variant: str | None = None
    cache_converted: bool = True
    offloaded: bool = False


@dataclass(frozen=True)
class CheckpointKey:
    """Cache key of a checkpoint: checkpoints with equal keys load as the same pipeline.

    Attributes:
        where: Path, or hub id of a checkpoint with a commit.
        files: States of the local files.
        pipe: diffusers pipeline class that holds the components.
        revision: Commit at the hub; None for local checkpoints.
        config_source: Directory of the JSON files of a single file.
        component_overrides: Name of each component from elsewhere, followed by the fields of its ``OverrideKey``.
        missing_components: Components that the checkpoint was saved without.
        safety_checker: Whether a safety checker is kept.
        hashes: File name and SHA-256 of each file that is checked.
        allow_pickle: Whether pickled weights may be loaded.
    """

    where: str
    files: tuple[FileState, ...]
    pipe: str
    revision: str | None
    config_source: str | None
    component_overrides: tuple[tuple[str, OverrideKey], ...]
    missing_components: tuple[str, ...]
    safety_checker: bool
    hashes: tuple[tuple[str, str], ...]
    allow_pickle: bool


def checkpoint_key(checkpoint: Checkpoint) -> CheckpointKey:
    """Return the cache key of a checkpoint, with the present states of its files.

    Args:
        checkpoint: The checkpoint.
    """
    at_hub = checkpoint.commit is not None and not checkpoint.single_file
    return CheckpointKey(
        where=checkpoint.source if at_hub else str(checkpoint.path),
        files=tuple(state for path in _local_paths(checkpoint) for state in file_states(path)),
        pipe=checkpoint.pipe,
        revision=checkpoint.commit,
        config_source=str(checkpoint.config_source) if checkpoint.config_source else None,
        component_overrides=tuple(
            (name, override_key(component)) for name, component in checkpoint.component_overrides.items()
        ),
        missing_components=checkpoint.missing_components,
        safety_checker=checkpoint.safety_checker,
        hashes=tuple(checkpoint.hashes.items()),
        allow_pickle=checkpoint.allow_pickle,
    )


def file_states(path: Path) -> tuple[FileState, ...]:
    """List the states of a directory's files, with links resolved so that a shared file counts as one.

    Args:
        path: Directory, without its subdirectories, or a single file.
    """
    if not path.is_dir():
        return ((str(path.resolve()), (state := path.stat()).st_size, state.st_mtime_ns),) if path.is_file() else ()
    directory = os.stat(path)
    real = _real_path(path, directory.st_dev, directory.st_ino)
    with os.scandir(path) as entries:
        files = sorted((entry for entry in entries if entry.is_file()), key=lambda entry: entry.name)
    return tuple(
        (
            os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(real, entry.name),
            (state := entry.stat()).st_size,
            state.st_mtime_ns,
        )
        for entry in files
    )


@lru_cache(maxsize=256)
def _real_path(path: Path, device: int, inode: int) -> str:
    """Path without links of a directory, which device and inode identify; a sweep lists the files for each job."""
    return os.path.realpath(path)


def _local_paths(checkpoint: Checkpoint) -> list[Path]:
    """List the paths of files that no commit identifies."""
    described = checkpoint.config_source or checkpoint.path
    overrides = checkpoint.component_overrides.values()
    paths = [component.folder for component in overrides if component.commit is None]
    if checkpoint.commit is None:
        paths = [checkpoint.path, described, *(described / name for name in checkpoint.classes), *paths]
    return paths


def override_key(component: Component) -> OverrideKey:
    """Return what identifies a component from elsewhere.

    Args:
        component: The component.
    """
    location, local = component.location, component.commit is None
    where, subfolder = (str(component.folder), "") if local else (location.source, component.subfolder)
    described = str(component.config_source) if component.config_source else None
    return component.library, component.cls, where, subfolder, component.commit, location.variant, described
