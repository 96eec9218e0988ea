"""What a command line without a verb does: a single run, a sweep, a search, or what another's launcher makes of several runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer import argv
from composer.errors import ComposerError
from composer.folder import folder_of
from composer.line import Line
from composer.single_run import run_job
from composer.typed import SEARCH

if TYPE_CHECKING:
    pass


def run(line: Line) -> int:
    """Do what was typed; the exit code."""
    if line.multirun:
        return _several(line)
    for _, key, value in map(argv.split, line.overrides):
        if key.startswith("search."):
            raise ComposerError(key, value, f"is about a search: add -m {SEARCH}")
        if key.startswith(("sweep.", "sheet.")):
            raise ComposerError(key, value, "is about several runs: add -m")
    from composer.composed import compose_whole, without_hydra

    config = compose_whole(line.overrides, line.config_dir)
    if line.shows:
        from composer.printed import printed

        print(printed(config, line), end="")
        return 0
    folder = folder_of(config)
    run_job(without_hydra(config), folder, line.verbose)
    return 0


def _several(line: Line) -> int:
    if line.shows:
        raise ComposerError(line.flags[0], None, "shows one run: leave -m out, and give one value to each key")
    if SEARCH in line.overrides:
        from composer.sweep.search_run import run as search

        return search(line)
    for _, key, value in map(argv.split, line.overrides):
        if key.startswith("search."):
            raise ComposerError(key, value, f"is about a search: add -m {SEARCH}")
    from composer import launchers
    from composer.sweep.run import run as sweep

    return launchers.run(line) if launchers.wanted(line) else sweep(line)
