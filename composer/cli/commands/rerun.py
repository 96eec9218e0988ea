"""compose rerun IMAGE [overrides] and compose info IMAGE."""

from __future__ import annotations

import sys
from pathlib import Path

from composer.config.command_line import ParsedArgs
from composer.errors import ComposerError, printable
from composer.images import embedded_texts
from composer.records import metadata
from composer.system import console
from composer.system.paths import expand_user


def rerun(line: ParsedArgs) -> int:
    """Generate an image again from its own record, or a variation of it; 1 where it should be the same and is not."""
    path, overrides = _picture(line)
    record = metadata.read(path)
    from composer.cli.single_run import finished
    from composer.reruns.compare import verdict
    from composer.reruns.describe import about
    from composer.reruns.regenerate import drawn
    from composer.reruns.replay_config import asked

    wanted = asked(path, record, overrides, line.config_dir, line.trust)
    if not line.quiet:
        print(printable(f"compose: {about(record, wanted.tree, wanted.same)}"), file=sys.stderr)
    result = finished(lambda: drawn(record, wanted, console.print_note), wanted.folder)
    if not wanted.same:
        return 0
    same, words = verdict(path, record, result)
    if not same:
        print(printable(f"compose: {words}"), file=sys.stderr)
    else:
        console.print_progress(words)
    return 0 if same else 1


def info(line: ParsedArgs) -> int:
    """Print an image's record; of another tool's image, its text."""
    from composer.reruns.describe import foreign, told

    path, more = _picture(line)
    if more:
        raise ComposerError("info", " ".join(more), "say `compose info IMAGE`, with one image or run.json")
    try:
        record = metadata.read(path)
    except ComposerError:
        inside = None if line.json or path.suffix == ".json" else embedded_texts.read(path)
        if inside is None or not inside.texts:
            raise
        print(foreign(path.name, inside))
        return 0
    console.report_facts(record, told(path.name, record))
    return 0


def _picture(line: ParsedArgs) -> tuple[Path, list[str]]:
    if not line.overrides or "=" in line.overrides[0]:
        raise ComposerError(
            line.command, None, f"say `compose {line.command} IMAGE`, with an image of composer's or its run.json"
        )
    path = expand_user(line.overrides[0])
    return (path / "run.json" if path.is_dir() else path), line.overrides[1:]
