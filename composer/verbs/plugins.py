"""`compose plugins`, and `compose plugins new NAME`."""

from __future__ import annotations

from pathlib import Path

from composer import speak
from composer.errors import ComposerError
from composer.line import Line


def run(line: Line) -> int:
    """compose plugins [new NAME]"""
    if not line.overrides:
        from composer.plugin_list import facts, found, listing

        there = found()
        speak.facts({"plugins": facts(there)}, listing(there))
        return 0
    if line.overrides[0] != "new" or len(line.overrides) != 2:
        raise ComposerError("plugins", " ".join(line.overrides), "say `compose plugins` or `compose plugins new NAME`")
    from composer.plugin_new import create

    folder = create(line.overrides[1], Path.cwd())
    told = f"{folder.name}: now `pip install -e ./{folder.name}` and `compose callbacks=[progress,{line.overrides[1]}]`"
    speak.came_of_it(told, [folder.name])
    return 0
