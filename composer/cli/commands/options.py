"""`compose list`."""

from __future__ import annotations

from composer.config.command_line import ParsedArgs
from composer.system import console


def run(line: ParsedArgs) -> int:
    """Run `compose list [group] [model=NAME]`.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: There is no such group.
    """
    from composer.api.listing import listed, text

    options = listed(line.overrides, line.config_dir)
    console.report_facts({"options": options}, text(options, bool(line.overrides)))
    return 0
