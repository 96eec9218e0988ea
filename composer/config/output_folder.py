"""Where a run's files go: the folder that was typed, or one by date and time; made when needed, gone again when nothing
came of it.
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
    """The folder of a single run, from a composed config with Hydra's node; it is not made here.

    Raises:
        ComposerError: its name can't be told, holds a secret, or leads somewhere that nobody typed.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    key, typed = typed_folder(config.hydra)
    try:
        folder = Path(os.path.abspath(expand_user(str(config.hydra.run.dir))))
    except (OmegaConfBaseException, RuntimeError) as error:
        raise ComposerError(key or OUT, typed, f"can't be told: {str(error).splitlines()[0]}") from None
    if key is None and not folder.is_relative_to(os.path.abspath(".")):
        reason = f"is set by an option file, and does not lie in the current folder: type {OUT}={folder} if it is to be there"
        raise ComposerError(OUT, folder, reason)
    if "${hydra." in str(typed) and key == OUT:  # the record holds what it came to, since that node is no part of a run
        OmegaConf.update(config, OUT, str(folder), force_add=True)
    refuse_unusable(folder)
    return allowed(folder, key, typed, typed)


def typed_folder(notes: DictConfig, keys: tuple[str, ...] = (RUN_DIR, OUT)) -> tuple[str | None, str | None]:
    """Which key of these was typed, and its value as it was typed. notes: Hydra's own node."""
    found = [(key, value) for _, key, value in map(overrides.split, words_of(notes)) if key in keys and value]
    return found[-1] if found else (None, None)


def words_of(notes: DictConfig) -> list[str]:
    """What was typed, as it was typed."""
    from composer.config.node_data import node_to_dict

    typed = node_to_dict(notes.overrides)
    return [*typed["hydra"], *typed["task"]]


def allowed(folder: Path, key: str | None, value: str | None, root: str | None) -> Path:
    """The folder, if a value in its name, such as ${prompt}, does not lead out of `root` up to that value.

    Raises:
        ComposerError: it does, or the name holds a secret.
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
    """Refuse a folder that can't be made or written to, as far as it can be told without making it.

    Raises:
        ComposerError: why not.
    """
    if reason := _in_the_way(folder):
        raise _unusable(folder, reason)


def make(folder: Path) -> list[Path]:
    """Make a folder to write into; those that were not there before, the innermost first.

    Raises:
        ComposerError: it can't be made or written to; nothing is left of it.
    """
    refuse_unusable(folder)
    new = [each for each in (folder, *folder.absolute().parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        leave_nothing(new)
        raise _unusable(folder, str(error.strerror)) from None
    return new


def _in_the_way(folder: Path) -> str | None:
    """What of the folders that there are keeps files out, as far as it can be told without making any."""
    try:
        there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    except OSError as error:  # a name that is too long
        return error.strerror
    if not there.is_dir():
        return f"{there.name} is a file"
    return None if os.access(there, os.W_OK | os.X_OK) else f"{there} is write-protected"


def _unusable(folder: Path, reason: str) -> ComposerError:
    return ComposerError(OUT, folder, f"no files can be put there: {reason}. Name another folder: {OUT}=DIR")


def leave_nothing(folders: Iterable[Path]) -> None:
    """Remove folders, the innermost first, as far as they are empty; never the current one."""
    here = Path.cwd()
    for each in folders:
        if here.is_relative_to(each.absolute()):
            return
        with suppress(OSError):
            each.rmdir()
