"""A sweep from the words of the command line to its last page: parse, refuse, lock, draw, report."""

from __future__ import annotations

from composer import speak
from composer.line import Line
from composer.sweep.asked import asked_for
from composer.sweep.driver import Driver
from composer.sweep.journal import clear, locked
from composer.sweep.refuse import invalid, object_to, refuse
from composer.sweep.table import plan_text


def check(line: Line) -> int:
    """Refuse what can't work, all combinations of it, and run nothing."""
    sweep = asked_for(line)
    refuse(sweep)
    speak.came_of_it(f"all is well: {len(sweep.jobs)} jobs can run", [], jobs=len(sweep.jobs))
    return 0


def run(line: Line) -> int:
    """Run a sweep, or go on with it; 0 when every job is done, 1 when some failed."""
    from composer.quiet import hush, speak_up

    speak_up() if line.verbose else hush()
    sweep = asked_for(line)
    if sweep.spec.dry_run:
        bad = invalid(sweep)
        print(plan_text(sweep, bad))
        object_to(sweep, bad)
        return 0
    refuse(sweep)
    with locked(sweep.folder):
        if sweep.spec.fresh:
            clear(sweep.folder)
        return Driver(sweep).run()
