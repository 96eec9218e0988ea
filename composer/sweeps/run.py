"""A sweep from the words of the command line to its last page: parse, refuse, lock, generate, report."""

from __future__ import annotations

from composer.config.command_line import ParsedArgs
from composer.errors import ComposerError
from composer.sweeps.driver import Driver
from composer.sweeps.journal import clear
from composer.sweeps.lock import locked
from composer.sweeps.parse import Sweep, asked_for
from composer.sweeps.preview import plan_text
from composer.sweeps.validate import invalid, object_to, refuse
from composer.sweeps.worker import Setup
from composer.system import console


def check(line: ParsedArgs) -> int:
    """Refuse what can't work, all combinations of it, and run nothing."""
    sweep = asked_for(line)
    refuse(sweep)
    console.report_result(f"all is well: {len(sweep.jobs)} jobs can run", [], jobs=len(sweep.jobs))
    return 0


def run(line: ParsedArgs, setup: Setup) -> int:
    """Run a sweep, or go on with it.

    Args:
        line: The command line.
        setup: Configures the process of each worker that the sweep starts.

    Returns:
        The exit code: 0 when every job is done, 1 when some failed.
    """
    sweep = asked_for(line, setup)
    if sweep.spec.dry_run:
        return _plan(sweep)
    return drive(sweep)[0]


def drive(sweep: Sweep) -> tuple[int, Driver]:
    """Generate what waits, and say with which exit code the command ends and who generated it."""
    refuse(sweep)
    with locked(sweep.folder):
        if sweep.spec.fresh:
            clear(sweep.folder)
        driver = Driver(sweep)
        return driver.run(), driver


def _plan(sweep: Sweep) -> int:
    """Say what would run; 2 where some of it can't."""
    bad = invalid(sweep)
    text = plan_text(sweep, bad)
    reasons = [{"job": number, "reason": str(error)} for number, error in bad.items()]
    console.report_facts({"folder": str(sweep.folder), "jobs": len(sweep.jobs), "invalid": reasons, "text": text}, text)
    try:
        object_to(sweep, bad)
    except ComposerError as error:
        if not console.output_mode.json:
            raise
        return error.exit_code  # the reasons are told already, in the one object that there is to be
    return 0
