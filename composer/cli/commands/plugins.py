"""`compose plugins`, and `compose plugins new NAME --kind KIND`."""

from __future__ import annotations

from pathlib import Path

from composer.config.command_line import ParsedArgs
from composer.errors import ComposerError
from composer.system import console

KIND = "kind="


def run(line: ParsedArgs) -> int:
    """Run `compose plugins` or `compose plugins new NAME --kind KIND`.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: The name or the kind is not valid, or other words follow.
    """
    if not line.overrides:
        from composer.cli.plugins.listing import facts, listing, load_all

        loaded = load_all()
        console.report_facts({"plugins": facts(loaded)}, listing(loaded))
        return 0
    from composer.cli.plugins.scaffold import KINDS, create, usage

    words = [word for word in line.overrides if not word.startswith(KIND)]
    kinds = [word.removeprefix(KIND) for word in line.overrides if word.startswith(KIND)] or ["callback"]
    if words[:1] != ["new"] or len(words) != 2 or len(kinds) != 1:
        typed, kinds_text = " ".join(line.overrides), "|".join(KINDS)
        raise ComposerError(
            "plugins", typed, f"say `compose plugins` or `compose plugins new NAME --kind {kinds_text}`"
        )
    name, kind = words[1], kinds[0]
    folder = create(name, Path.cwd(), kind)
    text = f"{folder.name}: now `pip install -e ./{folder.name}` and `{usage(name, kind)}`"
    console.report_result(text, [folder.name])
    return 0
