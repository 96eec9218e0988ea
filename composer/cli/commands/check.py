"""`compose check`."""

from __future__ import annotations

from composer.config.command_line import ParsedArgs
from composer.system import console


def run(line: ParsedArgs) -> int:
    """compose check [-m] overrides"""
    if line.multirun:
        from composer.sweeps.run import check

        return check(line)
    from composer.checks.compatibility import check
    from composer.config.compose import compose_config
    from composer.config.read import read

    found = check(read(compose_config(line.overrides, line.config_dir)))
    from composer.pipelines.build import tried

    notes = tried(found)
    for each in notes:
        console.print_note(each)
    console.report_result("all is well: this can run", [], notes=notes)
    return 0
