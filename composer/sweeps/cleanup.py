"""``compose clean``: list or remove outputs. Nothing is removed by default, and sweeps only if they are named."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from composer.errors import ComposerError, suggest
from composer.sweeps.journal import RECORD_FILE, REQUEST_FILE, clear_folder
from composer.sweeps.lock import LOCK, locked
from composer.system.files import exclusive_lock

#: Parent of the runs without a folder of their own: outputs/DATE/TIME.
OUTPUTS = Path("outputs")
DAY, TIME = re.compile(r"\d{4}-\d\d-\d\d"), re.compile(r"\d\d-\d\d-\d\d-\d+")
SETTINGS = ("older", "dry_run")


@dataclass(frozen=True)
class OutputFolder:
    """Folder of a run or a sweep.

    Attributes:
        path: The folder.
        size: Bytes of all files in it.
        sweep: Whether it is a sweep's folder.
    """

    path: Path
    size: int
    sweep: bool = False


def clean(words: Sequence[str]) -> tuple[list[OutputFolder], bool]:
    """Find folders of outputs, and remove them if requested.

    Args:
        words: Folders, ``older=DAYS`` and ``dry_run=false``. Without folders all single runs are meant.

    Returns:
        The folders, and whether they were removed.

    Raises:
        ComposerError: A word is none of these, or composer did not write the folder.
        Busy: A process works in one of the folders.
    """
    settings = dict(word.split("=", 1) for word in words if "=" in word)
    for key, value in settings.items():
        if key not in SETTINGS:
            raise ComposerError(key, value, f"is no setting of clean.{suggest(key, SETTINGS)}", SETTINGS)
    dry_run = _dry_run(settings.get("dry_run", "true"))
    named = [Path(word).expanduser() for word in words if "=" not in word]
    if named and "older" in settings:
        reason = "selects runs by their age: omit it, or omit the folders"
        raise ComposerError("older", settings["older"], reason)
    folders = [_named(path) for path in named] if named else list(_runs(_days(settings.get("older", "0"))))
    if not dry_run:
        for folder in folders:
            _remove(folder)
    return folders, not dry_run


def format_report(folders: Sequence[OutputFolder], removed: bool) -> str:
    """Format what `clean` found.

    Args:
        folders: The folders.
        removed: Whether they were removed.

    Returns:
        A line for each day or named folder, then the total and the next command.
    """
    if not folders:
        return (
            "nothing to remove: there is no run of its own under outputs/ "
            "(a sweep is removed only by its name: compose clean DIR)"
        )
    sizes: dict[Path, list[int]] = {}
    for folder in folders:
        parent = folder.path.parent
        sizes.setdefault(parent if DAY.fullmatch(parent.name) else folder.path, []).append(folder.size)
    lines = [
        f"{sum(runs) / 2**20:9,.1f} MiB  {len(runs):4} {'run' if len(runs) == 1 else 'runs'}  {path}"
        for path, runs in sizes.items()
    ]
    total = f"{sum(folder.size for folder in folders) / 2**20:,.1f} MiB in {len(folders)} folders"
    return "\n".join([*lines, f"removed {total}" if removed else f"would remove {total}; dry_run=false does it"])


def _dry_run(value: str) -> bool:
    if value not in ("true", "false"):
        raise ComposerError("dry_run", value, "is not known.", ("true", "false"))
    return value == "true"


def _days(value: str) -> int:
    if not value.isdecimal() or len(value) > 5:
        raise ComposerError("older", value, "must be a number of days: older=7 keeps those of the last week")
    return int(value)


def _runs(days: int) -> Iterator[OutputFolder]:
    """Single runs without a folder of their own, at least that many days old."""
    last = (date.today() - timedelta(days=days)).isoformat()
    for day in sorted(OUTPUTS.iterdir()) if OUTPUTS.is_dir() else ():
        if DAY.fullmatch(day.name) and day.is_dir() and not day.is_symlink() and day.name <= last:
            for run in sorted(day.iterdir()):
                if TIME.fullmatch(run.name) and not run.is_symlink() and (run / RECORD_FILE).is_file():
                    yield OutputFolder(run, _size(run))


def _named(path: Path) -> OutputFolder:
    """A named folder, if composer wrote it."""
    if path.is_symlink() or not any((path / name).is_file() for name in (RECORD_FILE, REQUEST_FILE)):
        reason = f"is no run's and no sweep's folder: it holds neither {RECORD_FILE} nor {REQUEST_FILE}"
        raise ComposerError("clean", path, reason)
    return OutputFolder(path, _size(path), (path / REQUEST_FILE).is_file())


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())


def _remove(folder: OutputFolder) -> None:
    """Remove a run, or the files that a sweep wrote, and then folders that are empty."""
    if folder.sweep:
        with locked(folder.path):
            clear_folder(folder.path)
        (folder.path / LOCK).unlink(missing_ok=True)
    else:
        with exclusive_lock(folder.path):
            shutil.rmtree(folder.path)
    day = [folder.path.parent] if DAY.fullmatch(folder.path.parent.name) else []
    for path in [*([folder.path] if folder.sweep else []), *day]:
        try:
            path.rmdir()
        except OSError:
            return  # other files remain in it
