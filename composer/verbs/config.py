"""`compose config`."""

from __future__ import annotations

from composer import speak
from composer.line import Line


def run(line: Line) -> int:
    """compose config [overrides]"""
    from composer.origins import listing

    speak.facts(*listing(line.overrides, line.config_dir))
    return 0
