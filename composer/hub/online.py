"""The hub: what there is, its sizes and hashes before anything is downloaded, and downloads."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from composer.checkpoints.sources import HUB_ID
from composer.errors import ComposerError

#: Most repositories that a search lists.
MOST = 20
#: Files of a repository that composer reads: not pickles, nor weights for other libraries, nor images of its card.
NEEDED = ("*.json", "*.txt", "*.model", "*.safetensors", "README.md", "LICENSE*", "*.jinja")
#: In a pipeline's repository, weights are in the folders of components: single files beside them are the same again.
SAME_AGAIN = ("*.safetensors",)
INDICES = ("model_index.json", "modular_model_index.json")


def search(words: str) -> list[dict[str, Any]]:
    """Search the hub for diffusion models.

    Args:
        words: What their names contain.

    Returns:
        Of each repository `name`, `licence`, `tasks` (the hub's word), `downloads` and `gated`; the most used come
        first.

    Raises:
        ComposerError: The hub cannot be reached.
    """
    from huggingface_hub import HfApi

    with reached("models find", words):
        repositories = list(HfApi().list_models(search=words, filter="diffusers", sort="downloads", limit=MOST))
    return [
        {
            "name": one.id,
            "licence": tagged_licence(one.tags or ()),
            "tasks": one.pipeline_tag,
            "downloads": one.downloads,
            "gated": bool(one.gated),
        }
        for one in repositories
    ]


def describe(name: str, revision: str | None = None, key: str = "models find") -> dict[str, Any]:
    """Describe a repository at the hub, without downloading it.

    Args:
        name: Hub id.
        revision: Branch, tag or commit.
        key: Key for errors.

    Returns:
        `name`, `revision` (the commit), `licence`, `tasks`, `gated`, `files` (of each: `name`, `bytes`, `sha256` where
        the hub has it, `needed`), and `bytes`, the size of those that are needed.

    Raises:
        ComposerError: The hub cannot be reached, or has no such repository.
    """
    from huggingface_hub import HfApi

    with reached(key, name):
        info = HfApi().model_info(name, revision=revision, files_metadata=True)
    names = {sibling.rfilename for sibling in info.siblings or ()}
    needed = set(needed_files(names))
    files = [
        {
            "name": one.rfilename,
            "bytes": one.size or 0,
            "sha256": one.lfs.sha256 if one.lfs else None,
            "needed": one.rfilename in needed,
        }
        for one in info.siblings or ()
    ]
    return {
        "name": info.id,
        "revision": info.sha,
        "licence": tagged_licence(info.tags or ()),
        "tasks": info.pipeline_tag,
        "gated": bool(info.gated),
        "files": files,
        "bytes": sum(file["bytes"] for file in files if file["needed"]),
    }


def pull(name: str, revision: str | None) -> Path:
    """Download what composer reads of a repository into the hub's cache.

    Args:
        name: Hub id.
        revision: Branch, tag or commit.

    Returns:
        Its directory.

    Raises:
        ComposerError: The hub cannot be reached, or has no such repository, or it is gated.
    """
    from huggingface_hub import HfApi, snapshot_download

    with reached("models pull", name):
        files = needed_files(set(HfApi().list_repo_files(name, revision=revision)))
        return Path(snapshot_download(name, revision=revision, allow_patterns=files))


def needed_files(names: set[str]) -> list[str]:
    """Select the files of a repository that composer reads.

    Args:
        names: All of its files.

    Returns:
        Their names in order.
    """
    from fnmatch import fnmatch

    is_pipeline = any(index in names for index in INDICES)
    variants = {name.replace(".fp16.", ".") for name in names if ".fp16." in name} & names
    return sorted(
        name
        for name in names
        if any(fnmatch(name.rpartition("/")[2], pattern) for pattern in NEEDED)
        and not (is_pipeline and "/" not in name and any(fnmatch(name, pattern) for pattern in SAME_AGAIN))
        and not (".fp16." in name and name.replace(".fp16.", ".") in variants)
        and ".non_ema." not in name
    )


def tagged_licence(tags: Any) -> str | None:
    """The licence among the tags of a repository.

    Args:
        tags: Its tags.
    """
    return next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), None)


def check_id(key: str, name: str) -> str:
    """Refuse what is no hub id.

    Args:
        key: Key for the error.
        name: What was typed.

    Returns:
        `name`.

    Raises:
        ComposerError: It is none.
    """
    if not HUB_ID.fullmatch(name):
        raise ComposerError(key, name, "must be a hub id, owner/name")
    return name


@contextmanager
def reached(key: str, name: str) -> Iterator[None]:
    """Turn the errors of the hub's library into one line.

    Args:
        key: Key for the error.
        name: What was requested.

    Raises:
        ComposerError: The hub cannot be reached, or refuses.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    log = logging.getLogger("huggingface_hub")
    before = log.level
    log.setLevel(logging.ERROR)  # each of its retries is a warning
    http_error = HfHubHTTPError.__mro__[
        1
    ]  # of the HTTP library that the hub's was built on: its name differs by version
    try:
        yield
    except GatedRepoError:
        reason = "its owner requires that you accept terms first: do so at the hub, then `hf auth login`"
        raise ComposerError(key, name, reason) from None
    except RevisionNotFoundError:
        raise ComposerError(key, name, "has no such branch, tag or commit") from None
    except RepositoryNotFoundError:
        raise ComposerError(key, name, "there is no such repository at the hub") from None
    except OfflineModeIsEnabled:
        reason = "needs the hub, and HF_HUB_OFFLINE is set: unset it; compose models ls shows what is here"
        raise ComposerError(key, name, reason) from None
    except Exception as error:
        if not isinstance(error, (OSError, http_error)):
            raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = (
            f"the hub can't be reached at {constants.ENDPOINT} ({first[:200]}); compose models ls shows what is here"
        )
        raise ComposerError(key, name, reason) from None
    finally:
        log.setLevel(before)
