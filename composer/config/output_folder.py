"""The output directory of a run: as typed, or named by date and time.

It is created when the first file is written, and removed again if nothing was written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from composer.config import overrides
from composer.config.hydra_settings import OUT, RUN_DIR
from composer.errors import ComposerError
from composer.system.paths import expand_user

if TYPE_CHECKING:
    from omegaconf import DictConfig


def folder_of(config: DictConfig) -> Path:
    """Determine the directory of a single run; it is not created here.

    Args:
        config: A composed config with Hydra's own node. `output.folder` is replaced by the resolved
            directory if it refers to that node, which is not recorded.

    Returns:
        Absolute path.

    Raises:
        ComposerError: Its name cannot be resolved, holds a secret, leads out of the typed directory, or is unusable.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    key, typed = typed_folder(config.hydra)
    try:
        folder = Path(os.path.abspath(expand_user(str(config.hydra.run.dir))))
    except (OmegaConfBaseException, RuntimeError) as error:
        raise ComposerError(key or OUT, typed, f"can't be determined: {str(error).splitlines()[0]}") from None
    if key is None and not folder.is_relative_to(os.path.abspath(".")):
        reason = (
            f"is set by an option file, and is not inside the current folder: type {OUT}={folder} if it is to be there"
        )
        raise ComposerError(OUT, folder, reason)
    if "${hydra." in str(typed) and key == OUT:  # the record holds what it came to, since that node is no part of a run
        OmegaConf.update(config, OUT, str(folder), force_add=True)
    refuse_unusable(folder)
    return allowed(folder, key, typed, typed)


def typed_folder(notes: DictConfig, keys: tuple[str, ...] = (RUN_DIR, OUT)) -> tuple[str | None, str | None]:
    """Find the output directory that was typed.

    Args:
        notes: Hydra's own node.
        keys: Keys that name the directory.

    Returns:
        The last of these keys that was typed and its value, unresolved; `(None, None)` if there is none.
    """
    values = [(key, value) for _, key, value in map(overrides.split, words_of(notes)) if key in keys and value]
    return values[-1] if values else (None, None)


def words_of(notes: DictConfig) -> list[str]:
    """List the overrides as they were typed.

    Args:
        notes: Hydra's own node.

    Returns:
        Overrides of Hydra's settings, then all others.
    """
    from composer.config.node_data import node_to_dict

    typed = node_to_dict(notes.overrides)
    return [*typed["hydra"], *typed["task"]]


def allowed(folder: Path, key: str | None, value: str | None, root: str | None) -> Path:
    """Refuse a directory that a value in its name, such as `${prompt}`, leads out of the typed part.

    Args:
        folder: The resolved directory.
        key: The key that names it, for messages.
        value: Its value as typed.
        root: The value up to whose first interpolation the directory must be inside of.

    Returns:
        The directory.

    Raises:
        ComposerError: It is outside, or its name holds a secret.
    """
    from composer.config.secrets import refuse_secrets

    if value and re.search(r"\$\{(?!oc\.env:)", value):
        above = (root or "").strip("'\"").split("${")[0].rpartition("/")[0]
        if not folder.resolve().is_relative_to(expand_user(above).resolve()):
            raise ComposerError(
                key or OUT, value, f"comes to {folder}, which is not inside {above or 'the current folder'}"
            )
    refuse_secrets({OUT: str(folder)})
    return folder


def refuse_unusable(folder: Path) -> None:
    """Refuse a directory that cannot be created or written to, as far as this is known without creating it.

    Args:
        folder: The output directory.

    Raises:
        ComposerError: A file of that name exists, or an existing parent is write-protected.
    """
    if reason := _in_the_way(folder):
        raise _unusable(folder, reason)


def make(folder: Path) -> list[Path]:
    """Create a directory and its parents.

    Args:
        folder: The directory to write to.

    Returns:
        The directories that did not exist before, innermost first.

    Raises:
        ComposerError: It cannot be created or written to; nothing is left of it.
    """
    refuse_unusable(folder)
    new = [path for path in (folder, *folder.absolute().parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        leave_nothing(new)
        raise _unusable(folder, str(error.strerror)) from None
    return new


def _in_the_way(folder: Path) -> str | None:
    """Why the existing parents prevent files in a directory, as far as this is known without creating one."""
    try:
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    except OSError as error:  # a name that is too long
        return error.strerror
    if not existing.is_dir():
        return f"{existing.name} is a file"
    return None if os.access(existing, os.W_OK | os.X_OK) else f"{existing} is write-protected"


def _unusable(folder: Path, reason: str) -> ComposerError:
    return ComposerError(OUT, folder, f"no files can be put there: {reason}. Name another folder: {OUT}=DIR")


def leave_nothing(folders: Iterable[Path]) -> None:
    """Remove empty directories, but never the current one.

    Args:
        folders: Directories, innermost first.
    """
    here = Path.cwd()
    for folder in folders:
        if here.is_relative_to(folder.absolute()):
            return
        with suppress(OSError):
            folder.rmdir()
