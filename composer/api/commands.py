"""What `compose show`, `check`, `list`, `sweep` and `rerun` do, as functions for scripts and notebooks."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.api.requests import folder_of, request_of
from composer.errors import ComposerError
from composer.system import console
from composer.system.library_logs import silenced_libraries
from composer.system.notebook import Page, interruptible
from composer.system.run_lock import in_turn

if TYPE_CHECKING:
    from composer.config.command_line import ParsedArgs
    from composer.records.result import Result
    from composer.sweeps.ledger import Row


@interruptible()
def check(*overrides: str, config_dir: str | None = None, **values: Any) -> tuple[str, ...]:
    """Refuse what can't work, without loading weights.

    Args:
        overrides, config_dir, values: as for `compose`.

    Returns:
        Notes: what the run would do otherwise than asked.

    Raises:
        ComposerError: the request can't be met.
    """
    from composer.checks.compatibility import check as checked

    spec, callbacks = request_of(overrides, values, config_dir)
    found = checked(spec)
    with silenced_libraries():
        from composer.pipelines.build import tried

        return tried(found, callbacks)


@interruptible()
def show(*overrides: str, config_dir: str | None = None, **values: Any) -> Page:
    """What a pipeline is composed of, as text, without loading weights.

    Args:
        overrides, config_dir, values: as for `compose`.

    Raises:
        ComposerError: the request can't be met.
    """
    from composer.checks.compatibility import check as checked

    spec, callbacks = request_of(overrides, values, config_dir)
    found = checked(spec)
    with silenced_libraries():
        from composer.pipelines.build import tried
        from composer.pipelines.description import describe

        return Page(describe(found, tried(found, callbacks)))


def list_options(
    group: str | None = None, *overrides: str, config_dir: str | None = None, **values: Any
) -> dict[str, str]:
    """The options of a group with a line about each; of no group, all groups with how many options they have.

    Args:
        group: such as `"scheduler"`.
        overrides, values: of a run; with them, only the schedulers or tasks that its model can use.
        config_dir: a folder with option files of your own.

    Raises:
        ComposerError: there is no such group.
    """
    from composer.api.listing import listed
    from composer.config.python_values import given

    found = listed([*([] if group is None else [group]), *given(overrides, values).words], folder_of(config_dir))
    return found[group] if group is not None else {name: f"{len(options)} options" for name, options in found.items()}


@interruptible()
@in_turn
def rerun(
    image: str | os.PathLike[str], /, *overrides: str, trust: bool = False, config_dir: str | None = None, **values: Any
) -> Result:
    """Generate an image again from the record in it, or a variation of it.

    Args:
        image: an image of composer's, a run.json, or the folder that holds one.
        overrides, config_dir, values: what to change, as for `compose`.
        trust: use files and models that the record names wherever they are.

    Returns:
        The images; if the same ones were wanted, a note says whether they are, bit for bit.

    Raises:
        ComposerError: the record can't be read, or not be generated here.
    """
    from composer.config.python_values import given
    from composer.records import metadata
    from composer.reruns.compare import verdict
    from composer.reruns.regenerate import drawn, threads_kept
    from composer.reruns.replay_config import asked

    path = Path(image).expanduser()
    path = path / "run.json" if path.is_dir() else path
    record, found = metadata.read(path), given(overrides, values)
    if found.images or found.callbacks:
        key = next(iter(found.images), "callbacks")
        raise ComposerError(
            key, None, "a record is generated again from files and names alone: save the image and give its name"
        )
    wanted = asked(path, record, found.words, folder_of(config_dir), trust)
    with silenced_libraries(), threads_kept():
        result = drawn(record, replace(wanted, folder=None), lambda note: None)
    return replace(result, notes=(*result.notes, verdict(path, record, result)[1])) if wanted.same else result


@dataclass(frozen=True)
class Job:
    """One job of a sweep. values: what it alone was told, as typed. images: its files. reason: why there are none."""

    values: dict[str, str]
    images: tuple[Path, ...]
    reason: str | None = None


@dataclass(frozen=True, repr=False)
class Swept:
    """What came of a sweep. jobs: in their order. folder: of its files, with index.html and results.csv."""

    folder: Path
    jobs: tuple[Job, ...]

    @property
    def failed(self) -> tuple[Job, ...]:
        """Those without images."""
        return tuple(job for job in self.jobs if not job.images)

    def __repr__(self) -> str:
        return f"Swept({len(self.jobs)} jobs, {len(self.failed)} failed, {self.folder / 'index.html'})"

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows: the contact sheet."""
        sheet = self.folder / "contact.png"
        return sheet.read_bytes() if sheet.is_file() else None


@interruptible()
def sweep(*overrides: str, config_dir: str | None = None, **values: Any) -> Swept:
    """Run several jobs, as `compose -m`: the same call goes on where an earlier one stopped.

    Args:
        overrides: as on the command line, `"scheduler=euler,ddim"`, `"sweep.batch=1"`.
        config_dir: a folder with option files of your own.
        values: keys with Python values. A list is what to sweep over, `seed=range(4)`; a list in it is one batch of
        prompts.

    Returns:
        The jobs with their files.

    Raises:
        ComposerError: some job can't work; nothing was run.

    Example:
        >>> composer.sweep(prompt=["a red cone", "a blue cube"], seed=range(4), folder="cones")
    """
    from composer.config.command_line import ParsedArgs
    from composer.config.python_values import given, swept

    given(overrides, {})
    folder = values.pop("folder", None)
    words = [*overrides, *swept(values), *swept({} if folder is None else {"output.folder": folder})]
    with console.silenced(), silenced_libraries():
        return _swept(ParsedArgs(None, words, ["-m"], folder_of(config_dir), None, quiet=True))


def _swept(line: ParsedArgs) -> Swept:
    from composer.sweeps.parse import asked_for
    from composer.sweeps.run import drive

    found = asked_for(line)
    _, driver = drive(found)
    rows = (
        row for row in driver.ledger.rows() if row.number is not None
    )  # others are of earlier requests in this folder
    return Swept(found.folder, tuple(_job(found.folder, row) for row in rows))


def _job(folder: Path, row: Row) -> Job:
    files = sorted((folder / row.place).glob("[0-9]*.*")) if row.state == "done" else ()
    return Job(dict(row.values), tuple(files), None if files else row.reason or row.state)
