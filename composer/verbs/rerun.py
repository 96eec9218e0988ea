"""compose rerun IMAGE [overrides] and compose info IMAGE."""

from __future__ import annotations

import sys
from pathlib import Path

from composer import image_texts, metadata, speak
from composer.errors import ComposerError, printable
from composer.homes import expanded
from composer.line import Line


def rerun(line: Line) -> int:
    """Draw a picture again from its own record, or a variation of it; 1 where it should be the same and is not."""
    path, overrides = _picture(line)
    record = metadata.read(path)
    from composer.rerun.asked import asked
    from composer.rerun.compare import verdict
    from composer.rerun.draw import drawn
    from composer.rerun.tell import about
    from composer.single_run import finished

    wanted = asked(path, record, overrides, line.config_dir, line.trust)
    if not line.quiet:
        print(printable(f"compose: {about(record, wanted.tree, wanted.same)}"), file=sys.stderr)
    result = finished(lambda: drawn(record, wanted, speak.note), wanted.folder, line.verbose)
    if not wanted.same:
        return 0
    same, words = verdict(path, record, result)
    if not same:
        print(printable(f"compose: {words}"), file=sys.stderr)
    else:
        speak.line(words)
    return 0 if same else 1


def info(line: Line) -> int:
    """Print a picture's record; of another tool's picture, its text."""
    from composer.rerun.tell import foreign, told

    path, more = _picture(line)
    if more:
        raise ComposerError("info", " ".join(more), "say `compose info IMAGE`, with one picture or run.json")
    try:
        record = metadata.read(path)
    except ComposerError:
        inside = None if line.json or path.suffix == ".json" else image_texts.read(path)
        if inside is None or not inside.texts:
            raise
        print(foreign(path.name, inside))
        return 0
    speak.facts(record, told(path.name, record))
    return 0


def _picture(line: Line) -> tuple[Path, list[str]]:
    if not line.overrides or "=" in line.overrides[0]:
        raise ComposerError(line.verb, None, f"say `compose {line.verb} IMAGE`, with a picture of composer's or its run.json")
    path = expanded(line.overrides[0])
    return (path / "run.json" if path.is_dir() else path), line.overrides[1:]
