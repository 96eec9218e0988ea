"""`compose check`."""

from __future__ import annotations

from composer.config.command_line import ParsedArgs
from composer.system import console


def run(line: ParsedArgs) -> int:
    """Run `compose check`, for one run or with `-m` for all jobs of a sweep.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: The request cannot be met.
    """
    if line.multirun:
        from composer.sweeps.run import check as check_sweep

        return check_sweep(line)
    from composer.config.recipes import compose_request
    from composer.recipes.requests import check_request, read_request, tried_request

    notes = tried_request(check_request(read_request(compose_request(line.overrides, line.config_dir))))
    for note in notes:
        console.print_note(note)
    console.report_result("all is well: this can run", [], notes=notes)
    return 0
