"""`compose check`."""

from __future__ import annotations

from composer import speak
from composer.line import Line


def run(line: Line) -> int:
    """compose check [-m] overrides"""
    if not line.verbose:
        from composer.quiet import hush

        hush()
    if line.multirun:
        from composer.sweep.run import check

        return check(line)
    from composer.check import check
    from composer.composed import compose_config
    from composer.config import read

    found = check(read(compose_config(line.overrides, line.config_dir)))
    from composer.build import tried

    notes = tried(found)
    for each in notes:
        speak.note(each)
    speak.came_of_it("all is well: this can run", [], notes=notes)
    return 0
