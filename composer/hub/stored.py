"""Models on this machine: repositories in the hub's cache, and folders of other tools."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.api.listing import listed
from composer.checkpoints.headers import PICKLED, QUANTISED, SAFETENSORS
from composer.checkpoints.index import stored_index
from composer.checkpoints.sources import MODELS, model_folders
from composer.errors import ComposerError
from composer.system.paths import expand_user

if TYPE_CHECKING:
    from huggingface_hub import CachedRepoInfo

#: How the hub's library begins the names of folders of models in its cache.
PREFIX = "models--"
#: How deep folders of other tools are looked into, and names of files that are weights.
DEEPEST = 4
WEIGHTS = (SAFETENSORS, QUANTISED, *PICKLED)
#: Smallest file that counts as a model: smaller ones are embeddings and the like.
SMALLEST = 1 << 20


@dataclass(frozen=True, kw_only=True)
class StoredModel:
    """A model on this machine.

    Attributes:
        name: Hub id, or the path of a folder or file.
        directory: `hub` for the hub's cache, else the folder of another tool.
        source: What `model.source` takes.
        bytes: Size of its files on the disk.
        files: Number of its files.
        revisions: Commits, the newest first; empty outside of the hub's cache.
        used: Time of its last use, in seconds since 1970; None if unknown.
        licence: Licence that its card names; None without one.
        pipeline: diffusers pipeline class that it names; None for single files and components.
        tasks: Options of `task` that it can do; empty if it is no complete model.
        reason: Why it has no tasks; None if it has some.
    """

    name: str
    directory: str
    source: str
    bytes: int
    files: int
    revisions: tuple[str, ...] = ()
    used: float | None = None
    licence: str | None = None
    pipeline: str | None = None
    tasks: tuple[str, ...] = ()
    reason: str | None = None


def stored_models(folders: Sequence[str] = ()) -> list[StoredModel]:
    """List the models on this machine; nothing is downloaded.

    Args:
        folders: Folders of other tools, besides those of the environment variable `COMPOSER_MODELS`.

    Returns:
        Models of the hub's cache, then those of the folders, each in order of name.

    Raises:
        ComposerError: A folder does not exist.
    """
    models = [_cached(repository) for repository in repositories()]
    models += [_broken(name) for name in sorted(set(cached_names()) - {model.name for model in models})]
    models.sort(key=lambda model: model.name)
    for text in dict.fromkeys([*folders, *map(str, model_folders())]):
        root = expand_user(text)
        if not root.is_dir():
            raise ComposerError("folders", text, f"there is no such folder: see {MODELS}")
        models += [_elsewhere(root, path) for path in sorted(_models_below(root, DEEPEST))]
    return models


def repositories() -> list[CachedRepoInfo]:
    """List the model repositories in the hub's cache that are intact; none if there is no cache yet."""
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        return [repository for repository in scan_cache_dir().repos if repository.repo_type == "model"]
    except CacheNotFound:
        return []


def cached_names() -> dict[str, Path]:
    """Map the names of all model repositories in the hub's cache, with those that lack files, to their folders."""
    from huggingface_hub import constants

    folders = sorted(Path(constants.HF_HUB_CACHE).glob(f"{PREFIX}*"))
    return {path.name.removeprefix(PREFIX).replace("--", "/"): path for path in folders if path.is_dir()}


def repository_folder(name: str) -> Path:
    """Look the folder of a repository in the hub's cache up.

    Args:
        name: Hub id.

    Raises:
        ComposerError: It is not in the cache.
    """
    known = cached_names()
    if name not in known:
        raise ComposerError("models", name, "is not in the hub's cache: see compose models ls", tuple(sorted(known)))
    return known[name]


def snapshots(stored: CachedRepoInfo) -> list[Any]:
    """List the revisions of a repository in the cache, that of `main` first, then the newest.

    Args:
        stored: The repository.
    """
    return sorted(stored.revisions, key=lambda one: ("main" not in one.refs, -one.last_modified))


def licence_of(folder: Path) -> str | None:
    """Read the licence that a model's card names.

    Args:
        folder: Directory of the model.

    Returns:
        The name that the card gives it, for instance `openrail++`; None without a card or a licence in it.
    """
    from huggingface_hub import ModelCard

    if not (folder / "README.md").is_file():
        return None
    try:
        data = ModelCard.load(folder / "README.md", ignore_metadata_errors=True).data
    except (OSError, ValueError, UnicodeError):
        return None
    named = data.get("license_name") or data.get("license")
    return None if named is None else str(named)


def _cached(stored: CachedRepoInfo) -> StoredModel:
    revisions = snapshots(stored)
    folder = revisions[0].snapshot_path if revisions else stored.repo_path
    return StoredModel(
        name=stored.repo_id, directory="hub", source=stored.repo_id, bytes=stored.size_on_disk, files=stored.nb_files,
        revisions=tuple(one.commit_hash for one in revisions), used=stored.last_accessed, **_traits(folder),
    )  # fmt: skip


def _broken(name: str) -> StoredModel:
    """A repository that the hub's library does not read, since files of it are missing."""
    files = [path for path in repository_folder(name).rglob("*") if path.is_file() and not path.is_symlink()]
    size = sum(path.stat().st_size for path in files)
    reason = f"files of it are missing: compose models verify {name} names them"
    return StoredModel(name=name, directory="hub", source=name, bytes=size, files=len(files), reason=reason)


def _elsewhere(root: Path, path: Path) -> StoredModel:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    name = path.relative_to(root).as_posix()
    return StoredModel(
        name=name, directory=str(root), source=str(path), bytes=size, files=len(files), **_traits(path)
    )  # fmt: skip


def _traits(path: Path) -> dict[str, Any]:
    """Licence, pipeline class and tasks of a model on the disk."""
    facts: dict[str, Any] = {}
    if path.is_dir():
        facts["licence"] = licence_of(path)
        try:
            facts["pipeline"] = stored_index(path).get("_class_name")
        except ComposerError as error:
            return {**facts, "reason": error.reason}
    try:
        facts["tasks"] = tuple(listed(["task", "model=local", f"model.source={_quoted(path)}"])["task"])
    except ComposerError as error:
        facts["reason"] = error.reason
    return facts


def _quoted(path: Path) -> str:
    """A path as one value of the grammar of overrides."""
    from composer.config.overrides import quote

    return quote(str(path))


def _models_below(folder: Path, deep: int) -> Iterator[Path]:
    """Directories in diffusers' format, and single files of weights outside of them."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            path = Path(entry.path)
            if entry.is_dir():
                if (path / "model_index.json").is_file():
                    yield path
                elif deep > 1 and not entry.is_symlink() and os.access(path, os.R_OK | os.X_OK):
                    yield from _models_below(path, deep - 1)
            elif path.suffix in WEIGHTS and entry.is_file() and entry.stat().st_size >= SMALLEST:
                yield path
