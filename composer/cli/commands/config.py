"""`compose config`."""

from __future__ import annotations

from composer.config.command_line import ParsedArgs
from composer.system import console


def run(line: ParsedArgs) -> int:
    """Run `compose config [overrides]`.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: The config cannot be composed.
    """
    from composer.config.provenance import listing

    console.report_facts(*listing(line.overrides, line.config_dir))
    return 0
