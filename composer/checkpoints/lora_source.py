"""Where a LoRA comes from: a file, a directory with one, or the hub. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from composer.checkpoints.headers import SAFETENSORS
from composer.config.lora import is_hub_file
from composer.errors import ComposerError
from composer.system.paths import expand_user

if TYPE_CHECKING:
    from composer.config.spec import LoraSpec

#: Names of LoRA files in directories and repositories, as diffusers and PEFT write them.
USUAL_NAMES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")


def locate_lora(key: str, spec: LoraSpec) -> Path:
    """Return the file of a LoRA; one at the hub is downloaded.

    Args:
        key: Config key that named it, for errors.
        spec: Its settings.

    Returns:
        The file; for the hub, a path in the local cache.

    Raises:
        ComposerError: There is no such file, several could be meant, or the hub can't be reached.
    """
    path = expand_user(spec.file)
    if path.is_file():
        _refuse_revision(key, spec)
        return path
    if path.is_dir():
        _refuse_revision(key, spec)
        names = [file.relative_to(path).as_posix() for file in sorted(path.glob(f"*{SAFETENSORS}"))]
        return path / _choose(key, spec.file, names)
    if "://" in spec.file:
        reason = "is a web address: download the file, or type the hub's owner/name/file.safetensors"
        raise ComposerError(key, spec.file, reason)
    if not is_hub_file(spec.file) or spec.file.count("/") < 1:
        raise ComposerError(key, spec.file, "there is no such file, and it is no hub id (owner/name)")
    return _fetch(key, spec)


def _refuse_revision(key: str, spec: LoraSpec) -> None:
    if spec.revision is not None:
        raise ComposerError(f"{key}.revision", spec.revision, "is for files at the hub: leave it out")


def _choose(key: str, source: str, names: list[str]) -> str:
    """The one file that can be meant."""
    usual = [name for name in USUAL_NAMES if name in names] or names
    if len(usual) == 1:
        return usual[0]
    reason = f"holds {'several' if usual else 'no'} {SAFETENSORS} files: name one, {key}={source}/FILE"
    raise ComposerError(key, source, reason, usual[:8])


def _fetch(key: str, spec: LoraSpec) -> Path:
    """Download a LoRA, or find it in the hub's cache."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    owner, name, *rest = spec.file.split("/")
    repository = f"{owner}/{name}"
    try:
        file = "/".join(rest) if rest and rest[-1].endswith(SAFETENSORS) else _listed(key, spec, repository, rest)
        return Path(hf_hub_download(repository, file, revision=spec.revision))
    except GatedRepoError:
        reason = "its owner requires that you accept terms first: do so at the hub, then `hf auth login`"
    except RepositoryNotFoundError:
        reason = "there is no such file here, and no such repository at the hub"
    except RevisionNotFoundError:
        raise ComposerError(f"{key}.revision", spec.revision, f"{repository} has no such branch or commit") from None
    except (LocalEntryNotFoundError, OSError) as error:
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            reason = f"{repository} has no such file"
        else:
            advice = f"download it while online (`hf download {repository}`), or name a file"
            reason = f"is not here nor in the hub's cache, and the hub can't be reached: {advice}"
    raise ComposerError(key, spec.file, reason) from None


def _listed(key: str, spec: LoraSpec, repository: str, folder: list[str]) -> str:
    """The LoRA file of a repository or of a subfolder of it; offline, of what was downloaded before."""
    from huggingface_hub import HfApi, constants, snapshot_download

    if constants.HF_HUB_OFFLINE:
        root = Path(snapshot_download(repository, revision=spec.revision, local_files_only=True))
        files = [file.relative_to(root).as_posix() for file in sorted(root.rglob(f"*{SAFETENSORS}"))]
    else:
        files = sorted(HfApi().list_repo_files(repository, revision=spec.revision))
    above = "/".join([*folder, ""])
    inside = [file.removeprefix(above) for file in files if file.startswith(above) and file.endswith(SAFETENSORS)]
    return above + _choose(key, spec.file, [name for name in inside if "/" not in name])
