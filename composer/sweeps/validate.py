"""Check of a sweep's jobs before the first one runs; invalid jobs are listed in a table."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from composer.errors import ComposerError, suggest
from composer.recipes.requests import metrics_of
from composer.sweeps.grammar import Job
from composer.sweeps.journal import Journal
from composer.sweeps.parse import Sweep
from composer.sweeps.plan import BATCH_KEYS, Entry, batch_overrides
from composer.sweeps.preview import invalid_table
from composer.sweeps.ranking import ALWAYS
from composer.system import console, interrupts

#: Number of prompts and seeds that are checked beforehand; further ones are checked when it is their turn, so that the
#: first job does not wait for the thousandth.
MAX_VALUES_CHECKED = 100


def check_jobs(sweep: Sweep) -> None:
    """Check each distinct set of options, and each prompt and seed once, before anything runs.

    Args:
        sweep: The parsed sweep. With ``sweep.on_invalid=skip`` its invalid jobs move from ``jobs`` to ``invalid``.

    Raises:
        ComposerError: Some jobs are invalid, and they are not to be skipped, or none remains; or ``sheet.sort`` is
            measured of no job.
    """
    invalid = find_invalid_jobs(sweep)
    _check_order(sweep)
    if (
        invalid
        and (sweep.spec.on_invalid == "error" or not console.output_mode.quiet)
        and not _same_for_all(sweep, invalid)
    ):
        print(invalid_table(sweep.jobs, invalid), file=sys.stderr)
    raise_for_invalid(sweep, invalid)
    if invalid:
        console.print_note(f"skipped {len(invalid)} of {len(sweep.jobs)} jobs, which are invalid")
        sweep.invalid = [(job, str(invalid[job.number])) for job in sweep.jobs if job.number in invalid]
        sweep.jobs = [job for job in sweep.jobs if job.number not in invalid]


def _check_order(sweep: Sweep) -> None:
    """Refuse to order the jobs by what none of them measures."""
    by = sweep.sheet.sort
    known = dict.fromkeys(ALWAYS)
    for job in {batch_overrides(job): job for job in sweep.jobs}.values() if by not in (None, *ALWAYS) else ():
        entry = Entry(job)
        try:
            sweep.resolve(entry)
        except ComposerError:  # it is among the invalid ones
            return
        known |= dict.fromkeys(metrics_of(entry.resolved))
        if by in known:
            return
    if by is not None and by not in known:
        reason = f"is measured of no job: metric=[…] chooses what is.{suggest(by, known)}"
        raise ComposerError("sheet.sort", by, reason, tuple(known))


def raise_for_invalid(sweep: Sweep, invalid: Mapping[int, ComposerError]) -> None:
    """Raise an error about invalid jobs, unless they are to be skipped and others remain.

    Args:
        sweep: The parsed sweep.
        invalid: Errors of invalid jobs by their number.

    Raises:
        ComposerError: The common error of all jobs, or one about the number of invalid jobs.
    """
    if _same_for_all(sweep, invalid):
        raise invalid[sweep.jobs[0].number]
    if invalid and sweep.spec.on_invalid == "error":
        reason = f"{len(invalid)} of {len(sweep.jobs)} jobs are invalid: change them, or set sweep.on_invalid=skip"
        raise ComposerError("sweep.on_invalid", "error", reason)
    if len(invalid) == len(sweep.jobs):
        raise ComposerError("sweep.on_invalid", "skip", "no job is left")


def _same_for_all(sweep: Sweep, invalid: Mapping[int, ComposerError]) -> bool:
    """Whether all jobs are invalid for one reason, such as a misspelt key."""
    return len(invalid) == len(sweep.jobs) and len({str(error) for error in invalid.values()}) == 1


def find_invalid_jobs(sweep: Sweep) -> dict[int, ComposerError]:
    """Check the jobs of a sweep. Jobs that differ in nothing but prompt and seed are checked once.

    Args:
        sweep: The parsed sweep.

    Returns:
        Errors of invalid jobs by their number.
    """
    done = Journal.read(sweep.folder).done if sweep.folder.is_dir() else {}
    errors: dict[Any, ComposerError | None] = {}
    invalid: dict[int, ComposerError] = {}
    checked = 0
    for job in sweep.jobs:
        interrupts.raise_if_interrupted()
        options = batch_overrides(job)
        values = [setting.text for setting in job.settings if setting.key in BATCH_KEYS]
        if options not in errors:
            errors[options] = _check(sweep, job, done, build=True)
        if errors[options] is None and checked < MAX_VALUES_CHECKED:  # a value is valid or not with any options
            new = [text for text in values if text not in errors]
            errors.update({text: _check(sweep, job, done, build=False) for text in new})
            checked += len(new)
        error = next((errors[key] for key in (options, *values) if errors.get(key)), None)
        if error is not None:
            invalid[job.number] = error
    return invalid


def _check(sweep: Sweep, job: Job, done: Mapping[str, str], build: bool) -> ComposerError | None:
    """Error of a job, or None; with `build` also errors that need torch, unless the job is done already."""
    entry = Entry(job)
    try:
        sweep.resolve(entry)
        if build and entry.id not in done:
            from composer.recipes.requests import tried_request

            tried_request(entry.resolved)
    except ComposerError as error:
        interrupts.raise_if_interrupted(error)
        return error
    return None
