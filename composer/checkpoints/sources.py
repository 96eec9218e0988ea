"""Where checkpoints and components lie: inside the package, in a folder, in a file, at the hub. No torch."""

from __future__ import annotations

import re
from pathlib import Path

from composer.checkpoints.headers import PICKLED, QUANTISED, SAFER, SAFETENSORS, check_pickle
from composer.errors import ComposerError
from composer.system.paths import expanded

EMBEDDED = Path(__file__).parents[1] / "tiny" / "checkpoint"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
#: A page or a file of the hub, as a browser's address bar shows it.
_PAGE = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co|hf-mirror\.com)/(?:models/)?(?!(?:spaces|datasets|papers|collections|docs)/)"
    r"([^/?#]+/[^/?#]+)(?:/(?:blob|resolve)/[^/]+/([^?#]+))?.*",
    re.IGNORECASE,
)
#: What is read of a repository before its weights, and what a single file's tokenizers need besides.
_JSON, _TEXT = ("*.json", "*/*.json"), ("*.txt", "*/*.txt", "*/*.model")


def locate(
    key: str, source: str, revision: str | None, allow_pickle: bool = False, texts: bool = False
) -> tuple[Path, str | None]:
    """A folder or .safetensors file, and the hub's commit where it came from there.

    Args:
        key: that named it, for the error. pickles: whether pickled weights will do. texts: whether a repository's
        vocabularies are
            needed besides its json files.

    Raises:
        ComposerError: nothing is there, or nothing that may be loaded.
    """
    path = EMBEDDED / source[len("embedded:") :] if source.startswith("embedded:") else expanded(source)
    if path.suffix in PICKLED and not allow_pickle:
        raise ComposerError(key, source, f"pickled weights can run code when they are loaded: {SAFER}")
    if path.is_file():
        return _file(key, source, path), None
    if path.is_dir():
        return path, None
    if "://" in source or _PAGE.fullmatch(source):
        raise ComposerError(key, source, _address(key, source))
    if not HUB_ID.fullmatch(source):
        raise ComposerError(key, source, "there is no such folder or file, and it is no hub id (owner/name)")
    return _fetch_json(key, source, revision, (*_JSON, *_TEXT) if texts else _JSON)


def beside(key: str, setting: str) -> str:
    """Another setting of the node that a key belongs to: `model.source` → `model.variant`."""
    return f"{key.removesuffix('.source').removesuffix('.config')}.{setting}"


def _file(key: str, source: str, path: Path) -> Path:
    if path.suffix in PICKLED:
        check_pickle(path, key)
    elif path.suffix != SAFETENSORS:
        more = "; a .gguf file holds a transformer or unet alone: model.components.transformer=FILE" * (
            path.suffix == QUANTISED
        )
        raise ComposerError(key, source, f"a single file must be a .safetensors file{more}")
    return path


def _address(key: str, source: str) -> str:
    """What to type instead of a web address."""
    page = _PAGE.fullmatch(source)
    if page is None:
        return "is a web address: download the file, and name it by its path"
    if page[2]:
        return f"is a web address: `hf download {page[1]} {page[2]}` and name the file, or type its hub id, {key}={page[1]}"
    return f"is a web address: type its hub id, {key}={page[1]}"


def _fetch_json(key: str, source: str, revision: str | None, patterns: tuple[str, ...]) -> tuple[Path, str]:
    """The json files of a hub repository: all that is needed before weights."""
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
        raise ComposerError(
            key, source, "its owner wants you to accept terms first: do so at the hub, then `hf auth login`"
        ) from None
    except RepositoryNotFoundError:
        raise ComposerError(key, source, "there is no such folder here, and no such repository at the hub") from None
    except RevisionNotFoundError:
        raise ComposerError(beside(key, "revision"), revision, f"{source} has no such branch, tag or commit") from None
    except (LocalEntryNotFoundError, OSError):
        advice = f"fetch it where it can (`hf download {source}`), or name a folder"
        raise ComposerError(
            key, source, f"is not a folder here nor in the hub's cache, and the hub can't be reached: {advice}"
        ) from None
    return folder, folder.name
