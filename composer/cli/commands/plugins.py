"""`compose plugins`, and `compose plugins new NAME`."""

from __future__ import annotations

from pathlib import Path

from composer.config.command_line import ParsedArgs
from composer.errors import ComposerError
from composer.system import console


def run(line: ParsedArgs) -> int:
    """Run `compose plugins` or `compose plugins new NAME`.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: The name is not valid, or other words follow.
    """
    if not line.overrides:
        from composer.cli.plugins.listing import facts, listing, load_all

        loaded = load_all()
        console.report_facts({"plugins": facts(loaded)}, listing(loaded))
        return 0
    if line.overrides[0] != "new" or len(line.overrides) != 2:
        raise ComposerError("plugins", " ".join(line.overrides), "say `compose plugins` or `compose plugins new NAME`")
    from composer.cli.plugins.scaffold import create

    folder = create(line.overrides[1], Path.cwd())
    text = f"{folder.name}: now `pip install -e ./{folder.name}` and `compose callbacks=[progress,{line.overrides[1]}]`"
    console.report_result(text, [folder.name])
    return 0
