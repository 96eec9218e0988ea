"""Sources of checkpoints and components: inside the package, a directory, a file or the hub; without torch."""

from __future__ import annotations

import os
import re
from pathlib import Path

from composer.checkpoints.headers import PICKLE_ADVICE, PICKLED, QUANTISED, SAFETENSORS, check_pickle
from composer.errors import ComposerError
from composer.system.paths import expand_user

#: Environment variable with folders of models that other tools keep, separated as in `PATH`.
MODELS = "COMPOSER_MODELS"
EMBEDDED = Path(__file__).parents[1] / "tiny" / "checkpoint"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
#: Web address of a repository or a file at the hub.
_PAGE = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co|hf-mirror\.com)/"
    r"(?:models/)?(?!(?:spaces|datasets|papers|collections|docs)/)"
    r"([^/?#]+/[^/?#]+)(?:/(?:blob|resolve)/[^/]+/([^?#]+))?.*",
    re.IGNORECASE,
)
#: Files of a repository that are read before its weights, and vocabularies that a single file's tokenizers need.
_JSON, _TEXT = ("*.json", "*/*.json"), ("*.txt", "*/*.txt", "*/*.model")


def is_embedded(source: str) -> bool:
    """Whether a source is one of the checkpoints that come with composer.

    Args:
        source: ``model.source``, or that of a component.
    """
    name = source.removeprefix("embedded:")
    return name != source and name.isidentifier() and (EMBEDDED / name).is_dir()


def locate(
    key: str, source: str, revision: str | None, allow_pickle: bool = False, texts: bool = False
) -> tuple[Path, str | None]:
    """Return the path of a source; JSON files of a hub repository are downloaded.

    Args:
        key: Config key that named the source, for errors.
        source: ``embedded:NAME``, a directory, a single file, a name in a folder of `COMPOSER_MODELS`, or a hub id.
        revision: Branch, tag or commit at the hub.
        allow_pickle: Whether a pickled file is accepted.
        texts: Whether vocabularies are downloaded besides JSON files.

    Returns:
        The directory or file, and the commit if it is a download from the hub.

    Raises:
        ComposerError: Nothing exists at the source, it can't be downloaded, or it must not be loaded.
    """
    path = EMBEDDED / source.removeprefix("embedded:") if source.startswith("embedded:") else expand_user(source)
    path = next((inside for inside in _in_folders(source) if not path.exists()), path)
    if path.suffix in PICKLED and not allow_pickle:
        raise ComposerError(key, source, f"pickled weights can run code when they are loaded: {PICKLE_ADVICE}")
    if path.is_file():
        return _checked_file(key, source, path), None
    if path.is_dir():
        return path, None
    if "://" in source or _PAGE.fullmatch(source):
        raise ComposerError(key, source, _instead_of_address(key, source))
    if not HUB_ID.fullmatch(source):
        raise ComposerError(key, source, "there is no such folder or file, and it is no hub id (owner/name)")
    return _fetch_json(key, source, revision, (*_JSON, *_TEXT) if texts else _JSON)


def model_folders() -> list[Path]:
    """Return the folders of models that other tools keep, by the environment variable `COMPOSER_MODELS`."""
    return [expand_user(name) for name in os.environ.get(MODELS, "").split(os.pathsep) if name]


def _in_folders(source: str) -> list[Path]:
    """A source that is a name inside of the folders of other tools."""
    if source.startswith(("embedded:", "~", ".", os.sep)) or not source:
        return []
    return [path for folder in model_folders() if (path := folder / source).exists()]


def sibling_key(key: str, setting: str) -> str:
    """Return another key of the config node that a key belongs to: ``model.source`` → ``model.variant``.

    Args:
        key: Config key that ends with ``.source`` or ``.config``, or the node itself.
        setting: Name of the other setting.
    """
    return f"{key.removesuffix('.source').removesuffix('.config')}.{setting}"


def _checked_file(key: str, source: str, path: Path) -> Path:
    if path.suffix in PICKLED:
        check_pickle(path, key)
    elif path.suffix != SAFETENSORS:
        more = "; a .gguf file holds a transformer or unet alone: model.components.transformer=FILE" * (
            path.suffix == QUANTISED
        )
        raise ComposerError(key, source, f"a single file must be a .safetensors file{more}")
    return path


def _instead_of_address(key: str, source: str) -> str:
    """Return what to type instead of a web address."""
    page = _PAGE.fullmatch(source)
    if page is None:
        return "is a web address: download the file, and name it by its path"
    if page[2]:
        download = f"`hf download {page[1]} {page[2]}` and name the file"
        return f"is a web address: {download}, or type its hub id, {key}={page[1]}"
    return f"is a web address: type its hub id, {key}={page[1]}"


def _fetch_json(key: str, source: str, revision: str | None, patterns: tuple[str, ...]) -> tuple[Path, str]:
    """Download the JSON files of a hub repository, which are all that is needed before weights."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        folder = Path(snapshot_download(source, revision=revision, allow_patterns=list(patterns)))
    except GatedRepoError:
        reason = "its owner requires that you accept terms first: do so at the hub, then `hf auth login`"
        raise ComposerError(key, source, reason) from None
    except RepositoryNotFoundError:
        raise ComposerError(key, source, "there is no such folder here, and no such repository at the hub") from None
    except RevisionNotFoundError:
        raise ComposerError(
            sibling_key(key, "revision"), revision, f"{source} has no such branch, tag or commit"
        ) from None
    except (LocalEntryNotFoundError, OSError):
        advice = f"download it while online (`hf download {source}`), or name a folder"
        reason = f"is not a folder here nor in the hub's cache, and the hub can't be reached: {advice}"
        raise ComposerError(key, source, reason) from None
    return folder, folder.name
