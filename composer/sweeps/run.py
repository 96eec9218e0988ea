"""Commands of a sweep: parse the command line, check the jobs, lock the folder, generate, report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.config.command_line import ParsedArgs
from composer.errors import ComposerError
from composer.sweeps.journal import clear_folder
from composer.sweeps.lock import locked
from composer.sweeps.parse import Sweep, parse_sweep
from composer.sweeps.preview import plan_text
from composer.sweeps.validate import check_jobs, find_invalid_jobs, raise_for_invalid
from composer.sweeps.worker import Setup
from composer.system import console

if TYPE_CHECKING:
    from composer.sweeps.driver import Driver


def check(line: ParsedArgs) -> int:
    """Check all jobs of a sweep and run nothing.

    Args:
        line: The command line.

    Returns:
        The exit code 0.

    Raises:
        ComposerError: Some jobs are invalid, and they are not to be skipped.
    """
    sweep = parse_sweep(line)
    check_jobs(sweep)
    console.report_result(f"all is well: {len(sweep.jobs)} jobs can run", [], jobs=len(sweep.jobs))
    return 0


def run(line: ParsedArgs, setup: Setup) -> int:
    """Run a sweep, or continue it.

    Args:
        line: The command line.
        setup: Configures the process of each worker that the sweep starts.

    Returns:
        The exit code: 0 when every job is done, 1 when some failed, 2 when the plan of a dry run has invalid jobs.

    Raises:
        ComposerError: The sweep or some of its jobs are invalid, or another process works in its folder.
    """
    sweep = parse_sweep(line, setup)
    if sweep.spec.dry_run:
        return _print_plan(sweep)
    return drive(sweep)[0]


def drive(sweep: Sweep) -> tuple[int, Driver]:
    """Generate the jobs that are not done.

    Args:
        sweep: The parsed sweep.

    Returns:
        The exit code of the command, and the driver with the ledger.

    Raises:
        ComposerError: Some jobs are invalid, and they are not to be skipped.
        Busy: Another process works in the folder.
    """
    from composer.sweeps.driver import Driver  # here: checks and plans need none of its pages and sheets

    check_jobs(sweep)
    with locked(sweep.folder):
        if sweep.spec.fresh:
            clear_folder(sweep.folder)
        driver = Driver(sweep)
        return driver.run(), driver


def _print_plan(sweep: Sweep) -> int:
    """Print what would run; the exit code is 2 if some jobs are invalid."""
    invalid = find_invalid_jobs(sweep)
    text = plan_text(sweep, invalid)
    reasons = [{"job": number, "reason": str(error)} for number, error in invalid.items()]
    console.report_facts({"folder": str(sweep.folder), "jobs": len(sweep.jobs), "invalid": reasons, "text": text}, text)
    try:
        raise_for_invalid(sweep, invalid)
    except ComposerError as error:
        if not console.output_mode.json:
            raise
        return error.exit_code  # the one JSON object on stdout contains the reasons
    return 0
