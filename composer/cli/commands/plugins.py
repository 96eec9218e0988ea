"""`compose plugins`, and `compose plugins new NAME`."""

from __future__ import annotations

from pathlib import Path

from composer.config.command_line import ParsedArgs
from composer.errors import ComposerError
from composer.system import console


def run(line: ParsedArgs) -> int:
    """compose plugins [new NAME]"""
    if not line.overrides:
        from composer.cli.plugins.listing import facts, found, listing

        there = found()
        console.report_facts({"plugins": facts(there)}, listing(there))
        return 0
    if line.overrides[0] != "new" or len(line.overrides) != 2:
        raise ComposerError("plugins", " ".join(line.overrides), "say `compose plugins` or `compose plugins new NAME`")
    from composer.cli.plugins.scaffold import create

    folder = create(line.overrides[1], Path.cwd())
    told = f"{folder.name}: now `pip install -e ./{folder.name}` and `compose callbacks=[progress,{line.overrides[1]}]`"
    console.report_result(told, [folder.name])
    return 0
