"""`compose clean`: what may go of the outputs. By itself it only tells; a sweep goes only where it is named."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from composer.errors import ComposerError, suggest
from composer.system.files import exclusive_lock

#: Where runs go that were given no folder: outputs/DATE/TIME.
OUTPUTS = Path("outputs")
DAY, TIME = re.compile(r"\d{4}-\d\d-\d\d"), re.compile(r"\d\d-\d\d-\d\d-\d+")
RECORD, LIST = "run.json", "sweep.json"
SETTINGS = ("older", "dry_run")


@dataclass(frozen=True)
class Folder:
    """A run's or a sweep's. size: bytes of all that is in it."""

    path: Path
    size: int
    sweep: bool = False


def clean(words: Sequence[str]) -> tuple[list[Folder], bool]:
    """Remove the folders that the words choose, or only find them.

    Args:
        words: folders, `older=DAYS` and `dry_run=false`.

    Returns:
        The folders, and whether they are gone.

    Raises:
        ComposerError: a word that is none of these, or a folder that composer did not make.
        Busy: a process works in one of them.
    """
    settings = dict(word.split("=", 1) for word in words if "=" in word)
    for key, value in settings.items():
        if key not in SETTINGS:
            raise ComposerError(key, value, f"is no setting of clean.{suggest(key, SETTINGS)}", SETTINGS)
    dry = _dry(settings.get("dry_run", "true"))
    named = [Path(word).expanduser() for word in words if "=" not in word]
    if named and "older" in settings:
        raise ComposerError(
            "older", settings["older"], "is about runs by their days: leave it out, or leave out the folders"
        )
    folders = [_known(path) for path in named] if named else list(_runs(_days(settings.get("older", "0"))))
    if not dry:
        for folder in folders:
            _remove(folder)
    return folders, not dry


def told(folders: Sequence[Folder], gone: bool) -> str:
    """A line for each day or named folder, and what to type next."""
    sizes: dict[Path, list[int]] = {}
    for folder in folders:
        sizes.setdefault(folder.path.parent if DAY.fullmatch(folder.path.parent.name) else folder.path, []).append(
            folder.size
        )
    lines = [
        f"{sum(each) / 2**20:9,.1f} MiB  {len(each):4} {'run' if len(each) == 1 else 'runs'}  {path}"
        for path, each in sizes.items()
    ]
    total = f"{sum(folder.size for folder in folders) / 2**20:,.1f} MiB in {len(folders)} folders"
    if not folders:
        return "nothing to remove: there is no run of its own under outputs/ (a sweep goes where it is named: compose clean DIR)"
    return "\n".join([*lines, f"removed {total}" if gone else f"would remove {total}; dry_run=false does it"])


def _dry(value: str) -> bool:
    if value not in ("true", "false"):
        raise ComposerError("dry_run", value, "is not known.", ("true", "false"))
    return value == "true"


def _days(value: str) -> int:
    if not value.isdecimal() or len(value) > 5:
        raise ComposerError("older", value, "must be a number of days: older=7 leaves those of the last week")
    return int(value)


def _runs(days: int) -> Iterator[Folder]:
    """Single runs that were given no folder, of days at least that many ago."""
    last = (date.today() - timedelta(days=days)).isoformat()
    for day in sorted(OUTPUTS.iterdir()) if OUTPUTS.is_dir() else ():
        if DAY.fullmatch(day.name) and day.is_dir() and not day.is_symlink() and day.name <= last:
            for run in sorted(day.iterdir()):
                if TIME.fullmatch(run.name) and not run.is_symlink() and (run / RECORD).is_file():
                    yield Folder(run, _size(run))


def _known(path: Path) -> Folder:
    """A folder that was named, if composer made it."""
    if path.is_symlink() or not any((path / name).is_file() for name in (RECORD, LIST)):
        raise ComposerError("clean", path, f"is no run's and no sweep's folder: it holds neither {RECORD} nor {LIST}")
    return Folder(path, _size(path), (path / LIST).is_file())


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())


def _remove(folder: Folder) -> None:
    """With the folder of the day where that was the last; of a sweep's only what the sweep wrote."""
    if folder.sweep:
        from composer.sweeps.journal import clear
        from composer.sweeps.lock import LOCK, locked

        with locked(folder.path):
            clear(folder.path)
        (folder.path / LOCK).unlink(missing_ok=True)
    else:
        with exclusive_lock(folder.path):
            shutil.rmtree(folder.path)
    day = [folder.path.parent] if DAY.fullmatch(folder.path.parent.name) else []
    for path in [*([folder.path] if folder.sweep else []), *day]:
        try:
            path.rmdir()
        except OSError:
            return  # something else lies there
