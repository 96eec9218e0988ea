"""`compose list`."""

from __future__ import annotations

from composer import speak
from composer.line import Line


def run(line: Line) -> int:
    """compose list [group] [model=NAME]"""
    from composer.listing import listed, text

    found = listed(line.overrides, line.config_dir)
    speak.facts({"options": found}, text(found, bool(line.overrides)))
    return 0
