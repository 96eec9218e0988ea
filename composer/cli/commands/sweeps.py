"""`compose plan`, `resume` and `status`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from composer.config.command_line import ParsedArgs
from composer.config.hydra_settings import SEARCH
from composer.errors import ComposerError
from composer.system import console
from composer.system.paths import expand_user


def plan(line: ParsedArgs) -> int:
    """Run `compose plan -m overrides`.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: The sweep is a search, or some job cannot work.
    """
    from composer.cli.process import configure_process
    from composer.sweeps.run import run as sweep

    if SEARCH in line.overrides:
        raise ComposerError("plan", SEARCH, "a search has no plan: what it tries next depends on what it found")
    return sweep(replace(line, command=None, overrides=[*line.overrides, "sweep.dry_run=true"]), configure_process)


def resume(line: ParsedArgs) -> int:
    """Run `compose resume DIR`.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: The directory has no sweep.
    """
    from composer.sweeps.journal import read_request

    folder = _folder(line)
    request = read_request(folder)
    start = Path(request.get("cwd", "."))
    if start.is_dir() and not start.samefile("."):
        folder = folder.resolve()  # as typed it would name another directory from there
        os.chdir(start)  # its files are named relative to it
    overrides = [*request["overrides"], *request.get("manner", ()), f"hydra.sweep.dir={folder}"]
    from composer.cli.hydra_run import run

    return run(replace(line, command=None, overrides=overrides, flags=["-m"]))


def status(line: ParsedArgs) -> int:
    """Run `compose status DIR`.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: The directory has no sweep.
    """
    from composer.sweeps.ledger import Ledger, rows_as_data
    from composer.sweeps.status import status_text, watch

    folder = _folder(line)
    if sys.stdout.isatty() and not (line.json or line.quiet):
        watch(folder)
        return 0
    ledger = Ledger.read(folder)
    page = [folder / "index.html"] if (folder / "index.html").exists() else []
    console.report_result(status_text(ledger), page, **rows_as_data(folder, ledger.rows(), ledger.journal.briefs))
    return 0


def _folder(line: ParsedArgs) -> Path:
    if len(line.overrides) != 1:
        raise ComposerError(
            str(line.command), " ".join(line.overrides), f"say `compose {line.command} DIR`, with a sweep's folder"
        )
    return expand_user(line.overrides[0])
