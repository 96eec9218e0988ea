"""`compose list`."""

from __future__ import annotations

from composer.config.command_line import ParsedArgs
from composer.system import console


def run(line: ParsedArgs) -> int:
    """compose list [group] [model=NAME]"""
    from composer.api.listing import listed, text

    found = listed(line.overrides, line.config_dir)
    console.report_facts({"options": found}, text(found, bool(line.overrides)))
    return 0
