"""`compose show`."""

from __future__ import annotations

from composer.config.command_line import ParsedArgs
from composer.system import console


def run(line: ParsedArgs) -> int:
    """Run `compose show [overrides]`.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: The request cannot be met.
    """
    from composer.config.recipes import compose_request
    from composer.recipes.requests import check_request, read_request

    checked = check_request(read_request(compose_request(line.overrides, line.config_dir)))
    from composer.recipes.describe import described

    console.report_facts(*described(checked))
    return 0
