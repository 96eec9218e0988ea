"""What composer says beside its pictures: notes on stderr, what came of a run on stdout. Errors are always said.

--quiet leaves out notes, progress and words: what is left are the names of the files. --json makes of what came of a run one line of JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from composer.errors import printable


@dataclass
class Manner:
    """How this command line wants to be spoken to. run: what lines of other libraries are about."""

    quiet: bool = False
    json: bool = False
    run: str = "compose"


manner = Manner()


def set_manner(quiet: bool, json: bool) -> None:
    manner.quiet, manner.json, manner.run = quiet, json, "compose"


def note(text: str) -> None:
    """What the user should know."""
    if not manner.quiet:
        print(printable(f"compose: note: {text}"), file=sys.stderr)


def line(text: str) -> None:
    """How far a long run is."""
    if not (manner.quiet or manner.json):
        print(printable(text), flush=True)


def came_of_it(text: str, files: Sequence[Path | str], **facts: Any) -> None:
    """What a command came to: in words, as the names of its files, or with all facts."""
    if manner.json:
        print(json.dumps({"files": [str(file) for file in files], **facts}, ensure_ascii=False, default=str))
    elif manner.quiet:
        print("\n".join(printable(str(file)) for file in files))
    else:
        print("\n".join(printable(each) for each in text.splitlines()))
