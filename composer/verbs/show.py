"""`compose show`."""

from __future__ import annotations

from composer import speak
from composer.line import Line


def run(line: Line) -> int:
    """compose show [overrides]"""
    from composer.check import check
    from composer.composed import compose_config
    from composer.config import read

    checked = check(read(compose_config(line.overrides, line.config_dir)))
    if not line.verbose:
        from composer.quiet import hush

        hush()
    from composer.build import tried
    from composer.facts import facts
    from composer.show import describe

    notes = tried(checked)
    text = describe(checked, notes)
    speak.facts(facts(checked, notes, text), text)
    return 0
