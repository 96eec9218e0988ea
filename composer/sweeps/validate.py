"""Jobs that can't work are found before the first one runs, and told in a table."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from composer.errors import ComposerError
from composer.sweeps.grammar import Job
from composer.sweeps.journal import Journal
from composer.sweeps.parse import Sweep
from composer.sweeps.plan import FREE, Entry, alike
from composer.sweeps.preview import invalid_table
from composer.system import console, interrupts

#: Prompts and seeds that are tried beforehand; further ones fail in their turn, so that the first job need not wait for
#: the thousandth.
MOST = 100


def refuse(sweep: Sweep) -> None:
    """Try each distinct set of settings, and each prompt and seed once, before anything runs; leave out what can't
    work, where asked.

    Raises:
        ComposerError: some jobs can't work, and they are not to be left out, or none is left.
    """
    bad = invalid(sweep)
    if bad and (sweep.spec.on_invalid == "error" or not console.output_mode.quiet) and not _about_all(sweep, bad):
        print(invalid_table(sweep.jobs, bad), file=sys.stderr)
    object_to(sweep, bad)
    if bad:
        console.print_note(f"left out {len(bad)} of {len(sweep.jobs)} jobs that can't work")
        sweep.invalid = [(job, str(bad[job.number])) for job in sweep.jobs if job.number in bad]
        sweep.jobs = [job for job in sweep.jobs if job.number not in bad]


def object_to(sweep: Sweep, bad: Mapping[int, ComposerError]) -> None:
    """Refuse the sweep for its invalid jobs, unless they are to be left out and others remain."""
    if _about_all(sweep, bad):
        raise bad[sweep.jobs[0].number]
    if bad and sweep.spec.on_invalid == "error":
        reason = (
            f"{len(bad)} of {len(sweep.jobs)} jobs can't work: change them, or leave them out by sweep.on_invalid=skip"
        )
        raise ComposerError("sweep.on_invalid", "error", reason)
    if len(bad) == len(sweep.jobs):
        raise ComposerError("sweep.on_invalid", "skip", "no job is left")


def _about_all(sweep: Sweep, bad: Mapping[int, ComposerError]) -> bool:
    """Whether all jobs are invalid for one reason, such as a misspelt key: it is not about some of them."""
    return len(bad) == len(sweep.jobs) and len({str(error) for error in bad.values()}) == 1


def invalid(sweep: Sweep) -> dict[int, ComposerError]:
    """Number → reason of jobs that can't work. Jobs that differ in prompt or seed alone share one look at the rest."""
    done = Journal.read(sweep.folder).done if sweep.folder.is_dir() else {}
    verdicts: dict[Any, ComposerError | None] = {}
    bad: dict[int, ComposerError] = {}
    looked = 0
    for job in sweep.jobs:
        interrupts.raise_if_interrupted()
        settings, free = alike(job), [setting.text for setting in job.settings if setting.key in FREE]
        if settings not in verdicts:
            verdicts[settings] = _verdict(sweep, job, done, deep=True)
        if verdicts[settings] is None and looked < MOST:  # a prompt or a seed that is at fault is so with any settings
            new = [text for text in free if text not in verdicts]
            verdicts.update({text: _verdict(sweep, job, done, deep=False) for text in new})
            looked += len(new)
        reason = next((verdicts[each] for each in (settings, *free) if verdicts.get(each)), None)
        if reason is not None:
            bad[job.number] = reason
    return bad


def _verdict(sweep: Sweep, job: Job, done: Mapping[str, str], deep: bool) -> ComposerError | None:
    """Why a job can't work, or None. deep: also what takes torch to find out, unless the job is done already."""
    entry = Entry(job)
    try:
        sweep.settle(entry)
        if deep and entry.id not in done:
            from composer.pipelines.build import tried

            tried(entry.checked)
    except ComposerError as error:
        interrupts.raise_if_interrupted(error)
        return error
    return None
