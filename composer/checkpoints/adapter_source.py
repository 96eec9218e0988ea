"""Where the file of an adapter comes from: a file, a directory with one, or the hub. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from composer.checkpoints.headers import SAFETENSORS
from composer.config.adapter_nodes import is_hub_file
from composer.errors import ComposerError
from composer.system.paths import expand_user


@dataclass(frozen=True, kw_only=True)
class AdapterSource:
    """A file as it was named.

    Attributes:
        key: Config key that named it, for errors.
        file: A file, a directory, ``owner/name``, or ``owner/name/folder/file``.
        revision: Branch, tag or commit at the hub.
        usual_names: Names that are chosen where there are other files too.
        suffixes: Suffixes of the files.
    """

    key: str
    file: str
    revision: str | None = None
    usual_names: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = (SAFETENSORS,)

    @property
    def kind(self) -> str:
        """The kind of files, for messages."""
        return f"{' or '.join(self.suffixes)} files"


def locate(source: AdapterSource) -> Path:
    """Return the file of an adapter; one at the hub is downloaded.

    Args:
        source: The file as it was named.

    Returns:
        The file; for the hub, a path in the local cache.

    Raises:
        ComposerError: There is no such file, several could be meant, or the hub can't be reached.
    """
    path = expand_user(source.file)
    if path.is_file():
        _refuse_revision(source)
        return path
    if path.is_dir():
        _refuse_revision(source)
        names = [file.relative_to(path).as_posix() for file in sorted(path.iterdir())]
        return path / _choose(source, source.file, [name for name in names if name.endswith(source.suffixes)])
    if "://" in source.file:
        reason = "is a web address: download the file, or type the hub's owner/name/file.safetensors"
        raise ComposerError(source.key, source.file, reason)
    if not is_hub_file(source.file) or source.file.count("/") < 1:
        raise ComposerError(source.key, source.file, "there is no such file, and it is no hub id (owner/name)")
    return _fetch(source)


def _refuse_revision(source: AdapterSource) -> None:
    if source.revision is not None:
        raise ComposerError(f"{source.key}.revision", source.revision, "is for files at the hub: leave it out")


def _choose(source: AdapterSource, where: str, names: list[str]) -> str:
    """The one file that can be meant."""
    usual = [name for name in source.usual_names if name in names] or names
    if len(usual) == 1:
        return usual[0]
    reason = f"holds {'several' if usual else 'no'} {source.kind}: name one, {source.key}={where}/FILE"
    raise ComposerError(source.key, where, reason, usual[:8])


def _fetch(source: AdapterSource) -> Path:
    """Download a file, or find it in the hub's cache."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    key = source.key
    owner, name, *rest = source.file.split("/")
    repository = f"{owner}/{name}"
    try:
        file = "/".join(rest) if rest and rest[-1].endswith(source.suffixes) else _listed(source, repository, rest)
        return Path(hf_hub_download(repository, file, revision=source.revision))
    except GatedRepoError:
        reason = "its owner requires that you accept terms first: do so at the hub, then `hf auth login`"
    except RepositoryNotFoundError:
        reason = "there is no such file here, and no such repository at the hub"
    except RevisionNotFoundError:
        raise ComposerError(f"{key}.revision", source.revision, f"{repository} has no such branch or commit") from None
    except (LocalEntryNotFoundError, OSError) as error:
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            reason = f"{repository} has no such file"
        else:
            advice = f"download it while online (`hf download {repository}`), or name a file"
            reason = f"is not here nor in the hub's cache, and the hub can't be reached: {advice}"
    raise ComposerError(key, source.file, reason) from None


def _listed(source: AdapterSource, repository: str, folder: list[str]) -> str:
    """The file of a repository or of a subfolder of it; offline, of what was downloaded before."""
    from huggingface_hub import HfApi, constants, snapshot_download

    if constants.HF_HUB_OFFLINE:
        root = Path(snapshot_download(repository, revision=source.revision, local_files_only=True))
        files = [file.relative_to(root).as_posix() for file in sorted(root.rglob("*")) if file.is_file()]
    else:
        files = sorted(HfApi().list_repo_files(repository, revision=source.revision))
    above = "/".join([*folder, ""])
    inside = [file.removeprefix(above) for file in files if file.startswith(above) and file.endswith(source.suffixes)]
    return above + _choose(source, source.file, [name for name in inside if "/" not in name])
