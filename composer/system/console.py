"""Output of a command: notes and errors on stderr, progress and reports on stdout.

`--quiet` prints neither notes nor progress, and of a report only the names of files. `--json` prints a report, or an
error, as one JSON object on one line of stdout. Errors are always printed.
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
    """How the process prints.

    Attributes:
        quiet: Whether notes, progress and words are omitted.
        json: Whether reports are JSON.
        silent: Whether nothing is printed, as in calls from Python, which return the same data.
        run: Name of the current run, printed before log lines of other libraries.
    """

    quiet: bool = False
    json: bool = False
    silent: bool = False
    run: str = "compose"


#: The mode of this process.
output_mode = OutputMode()


def set_output_mode(quiet: bool, json: bool) -> None:
    """Set the mode for a command.

    Args:
        quiet: As `OutputMode.quiet`.
        json: As `OutputMode.json`.
    """
    output_mode.quiet, output_mode.json, output_mode.run = quiet, json, "compose"


@contextmanager
def silenced() -> Iterator[None]:
    """Print nothing inside the context."""
    before = output_mode.silent, output_mode.quiet
    output_mode.silent = output_mode.quiet = True
    try:
        yield
    finally:
        output_mode.silent, output_mode.quiet = before


def print_failure(text: str) -> None:
    """Print a failure that does not end the command, such as of one job of a sweep.

    Args:
        text: One line.
    """
    if not output_mode.silent:
        print(printable(f"compose: {text}"), file=sys.stderr)


def print_note(text: str) -> None:
    """Print a note for the user, unless `--quiet` is set.

    Args:
        text: One line.
    """
    if not output_mode.quiet:
        print(printable(f"compose: note: {text}"), file=sys.stderr)


def print_progress(text: str) -> None:
    """Print how far a long run is, unless `--quiet` or `--json` is set.

    Args:
        text: One line.
    """
    if not (output_mode.quiet or output_mode.json):
        print(printable(text), flush=True)


def report_facts(facts: Mapping[str, Any], text: str) -> None:
    """Print the result of a command that makes no files.

    Args:
        facts: Plain data, printed with `--json`.
        text: The same for readers, printed without.
    """
    print(_to_json(facts) if output_mode.json else text)


def report_error(reason: str, exit_code: int, error: ComposerError | None = None) -> int:
    """Print why a command failed: on stderr, and with `--json` as an object on stdout too.

    Args:
        reason: One line.
        exit_code: Exit code of the command.
        error: The error with its config key, if there is one; it is printed instead of `reason`.

    Returns:
        `exit_code`.
    """
    print(printable(f"compose: {error or reason}"), file=sys.stderr)
    if output_mode.json:
        facts: dict[str, Any] = {"key": None, "value": None, "reason": reason, "allowed": []}
        if error is not None:
            facts = {"key": error.key, "value": error.value, "reason": error.reason, "allowed": list(error.allowed)}
        print(_to_json({**facts, "exit_code": exit_code}))
    return exit_code


def report_result(text: str, files: Sequence[Path | str], **facts: Any) -> None:
    """Print the result of a command that makes files.

    Args:
        text: The result for readers, of one line or more.
        files: Its files; with `--quiet` nothing but their names is printed.
        **facts: Further data, printed with `--json`.
    """
    if output_mode.silent:
        return
    if output_mode.json:
        print(_to_json({"files": [str(file) for file in files], **facts}))
    elif output_mode.quiet:
        print("\n".join(printable(str(file)) for file in files))
    else:
        print("\n".join(printable(line) for line in text.splitlines()))


def _to_json(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, ensure_ascii=False, default=str)
