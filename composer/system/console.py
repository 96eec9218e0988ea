"""What composer says beside its images: notes on stderr, what came of a run on stdout. Errors are always said.

--quiet leaves out notes, progress and words: what is left are the names of the files. --json makes of what came of a
command, an
error too, one line of JSON on stdout.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from composer.errors import ComposerError, printable


@dataclass
class OutputMode:
    """How this command line wants to be spoken to. run: what lines of other libraries are about."""

    quiet: bool = False
    json: bool = False
    silent: bool = False  # called from Python, where what is returned tells all
    run: str = "compose"


manner = OutputMode()


def set_manner(quiet: bool, json: bool) -> None:
    manner.quiet, manner.json, manner.run = quiet, json, "compose"


@contextmanager
def silent() -> Iterator[None]:
    """Nothing is said inside."""
    before = manner.silent, manner.quiet
    manner.silent = manner.quiet = True
    try:
        yield
    finally:
        manner.silent, manner.quiet = before


def failure(text: str) -> None:
    """What went wrong, and did not end the command."""
    if not manner.silent:
        print(printable(f"compose: {text}"), file=sys.stderr)


def note(text: str) -> None:
    """What the user should know."""
    if not manner.quiet:
        print(printable(f"compose: note: {text}"), file=sys.stderr)


def line(text: str) -> None:
    """How far a long run is."""
    if not (manner.quiet or manner.json):
        print(printable(text), flush=True)


def facts(found: Mapping[str, Any], text: str) -> None:
    """What a command found out: its text, or with --json one line of JSON."""
    print(_json(found) if manner.json else text)


def failed(reason: str, exit_code: int, error: ComposerError | None = None) -> int:
    """Why a command came to nothing, on stderr; with --json also as one object on stdout. Returns the exit code."""
    print(printable(f"compose: {error or reason}"), file=sys.stderr)
    if manner.json:
        about = {"key": None, "value": None, "reason": reason, "allowed": []}
        if error is not None:
            about = {"key": error.key, "value": error.value, "reason": error.reason, "allowed": list(error.allowed)}
        print(_json({**about, "exit_code": exit_code}))
    return exit_code


def _json(found: Mapping[str, Any]) -> str:
    return json.dumps(found, ensure_ascii=False, default=str)


def report_result(text: str, files: Sequence[Path | str], **facts: Any) -> None:
    """What a command came to: in words, as the names of its files, or with all facts."""
    if manner.silent:
        return
    if manner.json:
        print(_json({"files": [str(file) for file in files], **facts}))
    elif manner.quiet:
        print("\n".join(printable(str(file)) for file in files))
    else:
        print("\n".join(printable(each) for each in text.splitlines()))
