"""The commands `show`, `check`, `list`, `sweep` and `rerun` as functions for scripts and notebooks."""

from __future__ import annotations

import os
from collections.abc import Mapping
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
    """Refuse a request that cannot work, without loading weights.

    Args:
        *overrides: As for `compose`.
        config_dir: As for `compose`.
        **values: As for `compose`.

    Returns:
        Notes on what the run would do differently from the request.

    Raises:
        ComposerError: The request cannot be met.
    """
    from composer.recipes.requests import check_request, tried_request

    spec, callbacks = request_of(overrides, values, config_dir)
    checked = check_request(spec)
    with silenced_libraries():
        return tried_request(checked, callbacks)


@interruptible()
def show(*overrides: str, config_dir: str | None = None, **values: Any) -> Page:
    """Describe the pipeline of a request, without loading weights.

    Args:
        *overrides: As for `compose`.
        config_dir: As for `compose`.
        **values: As for `compose`.

    Returns:
        The description. It is a text, which a notebook shows in lines.

    Raises:
        ComposerError: The request cannot be met.

    Example:
        >>> print(composer.show("scheduler=euler", steps=10))
    """
    from composer.recipes.requests import check_request

    spec, callbacks = request_of(overrides, values, config_dir)
    checked = check_request(spec)
    with silenced_libraries():
        from composer.recipes.describe import described

        return Page(described(checked, callbacks)[1])


def list_options(
    group: str | None = None, *overrides: str, config_dir: str | None = None, **values: Any
) -> dict[str, str]:
    """List the options of a group, or all groups.

    Args:
        group: Name of a group such as `"scheduler"`; None for all groups.
        *overrides: Overrides of a run. With them, only the schedulers or tasks that its model can use are listed.
        config_dir: Directory with option files of your own.
        **values: Values of a run, as for `compose`; they act as `overrides` do.

    Returns:
        Option to a line about it; without a group, group to its number of options.

    Raises:
        ComposerError: There is no such group.

    Example:
        >>> composer.list("scheduler", model="sd15")
    """
    from composer.api.listing import listed
    from composer.config.python_values import sort_values

    words = [*([] if group is None else [group]), *sort_values(overrides, values).words]
    groups = listed(words, folder_of(config_dir))
    if group is not None:
        return groups[group]
    return {name: f"{len(options)} options" for name, options in groups.items()}


@interruptible()
@in_turn
def rerun(
    image: str | os.PathLike[str], /, *overrides: str, trust: bool = False, config_dir: str | None = None, **values: Any
) -> Result:
    """Generate an image again from its record, or a variation of it.

    Args:
        image: An image, clip or sound that composer generated, a run.json, or a directory with a run.json.
        *overrides: Overrides that change the recorded run, as for `compose`.
        trust: Whether to use files and models that the record names outside of the usual directories.
        config_dir: As for `compose`.
        **values: Values that change the recorded run, as for `compose`.

    Returns:
        The images. Without changes, a note says whether they are equal to the recorded ones, bit for bit.

    Raises:
        ComposerError: The record cannot be read, or cannot be generated on this machine.

    Example:
        >>> composer.rerun("outputs/cone/000.png", steps=40).image
    """
    from composer.config.python_values import sort_values
    from composer.records import metadata
    from composer.reruns.compare import compare_with_record
    from composer.reruns.recipes import regenerate_any, replay_of
    from composer.reruns.regenerate import threads_kept

    path = metadata.record_file(Path(image).expanduser())
    record, changes = metadata.read(path), sort_values(overrides, values)
    if changes.images or changes.callbacks:
        key = next(iter(changes.images), "callbacks")
        raise ComposerError(
            key, None, "a record is generated again from files and names alone: save the image and give its name"
        )
    replay = replay_of(path, record, changes.words, folder_of(config_dir), trust)
    with silenced_libraries(), threads_kept():
        result = regenerate_any(record, replace(replay, folder=None), lambda note: None)
    return (
        replace(result, notes=(*result.notes, compare_with_record(path, record, result)[1])) if replay.same else result
    )


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Attributes:
        values: Swept key to the job's value, as typed.
        images: Files of its images, clips or sounds; empty if it has none.
        reason: Why there are no images; None if there are.
    """

    values: dict[str, str]
    images: tuple[Path, ...]
    reason: str | None = None


@dataclass(frozen=True, repr=False)
class Swept:
    """The jobs and files of a sweep.

    Attributes:
        folder: Directory of its files, with index.html and results.csv.
        jobs: The jobs in their order.
    """

    folder: Path
    jobs: tuple[Job, ...]

    @property
    def failed(self) -> tuple[Job, ...]:
        """The jobs without images."""
        return tuple(job for job in self.jobs if not job.images)

    def __repr__(self) -> str:
        return f"Swept({len(self.jobs)} jobs, {len(self.failed)} failed, {self.folder / 'index.html'})"

    def _repr_png_(self) -> bytes | None:
        """Return the contact sheet, which a notebook shows."""
        sheet = self.folder / "contact.png"
        return sheet.read_bytes() if sheet.is_file() else None


@interruptible()
def sweep(*overrides: str, config_dir: str | None = None, **values: Any) -> Swept:
    """Run several jobs as `compose -m` does. The same call goes on where an earlier one stopped.

    Args:
        *overrides: Overrides as on the command line, such as `"scheduler=euler,ddim"` or `"sweep.batch=1"`.
        config_dir: Directory with option files of your own.
        **values: Values of keys. A list is swept over, `seed=range(4)`; a list inside it is one batch of prompts.
            `folder` is the directory of the sweep's files.

    Returns:
        The jobs with their files. Failed jobs are among them, each with a reason.

    Raises:
        ComposerError: Some job cannot work; none was run.

    Example:
        >>> composer.sweep(prompt=["a red cone", "a blue cube"], seed=range(4), folder="cones")
    """
    from composer.config.command_line import ParsedArgs
    from composer.config.python_values import sort_values, sweep_overrides

    sort_values(overrides, {})
    folder = values.pop("folder", None)
    words = [
        *overrides,
        *sweep_overrides(values),
        *sweep_overrides({} if folder is None else {"output.folder": folder}),
    ]
    with console.silenced(), silenced_libraries():
        return _swept(ParsedArgs(None, words, ["-m"], folder_of(config_dir), None, quiet=True))


def _swept(line: ParsedArgs) -> Swept:
    from composer.sweeps.parse import parse_sweep
    from composer.sweeps.run import drive

    parsed = parse_sweep(line)
    _, driver = drive(parsed)
    rows = [row for row in driver.ledger.rows() if row.number is not None]  # others are of earlier requests
    briefs = driver.ledger.journal.briefs
    return Swept(parsed.folder, tuple(_job(parsed.folder, row, briefs) for row in rows))


def _job(folder: Path, row: Row, briefs: Mapping[str, Mapping[str, Any]]) -> Job:
    names = briefs[row.id]["images"] if row.state == "done" and row.id else ()
    files = tuple(folder / row.subfolder / name for name in names)
    return Job(dict(row.values), files, None if files else row.reason or row.state)
