"""Command lines without a command: a single run, a sweep, a search, or several runs with a third-party launcher."""

from __future__ import annotations

from composer.cli.process import is_resident
from composer.cli.single_run import run_job
from composer.config import overrides
from composer.config.command_line import ParsedArgs
from composer.config.hydra_settings import SEARCH
from composer.errors import ComposerError


def run(line: ParsedArgs) -> int:
    """Run a command line that has no command.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: The request cannot be met.
    """
    if line.multirun:
        return _several(line)
    _refuse_settings_of_a_search(line)
    for _, key, value in map(overrides.split, line.overrides):
        if key.startswith(("sweep.", "sheet.")):
            raise ComposerError(key, value, "is about several runs: add -m")
    from composer.config.recipes import compose_request_and_folder, recipe_name

    if line.config_part:
        from composer.config.cfg_flag import config_text
        from composer.config.compose import compose_with_hydra_node

        if name := recipe_name(line.overrides):
            raise ComposerError("recipe", name, "has a config for each step: type compose config")
        print(config_text(compose_with_hydra_node(line.overrides, line.config_dir), line), end="")
        return 0
    if is_resident():
        from composer.sweeps.request_configs import compose_again

        run_job(*compose_again(line.overrides, line.config_dir))
    else:
        run_job(*compose_request_and_folder(line.overrides, line.config_dir))
    return 0


def _several(line: ParsedArgs) -> int:
    if line.config_part:
        raise ComposerError(line.flags[0], None, "shows one run: omit -m, and give one value to each key")
    if SEARCH in line.overrides:
        from composer.sweeps.search.run import run as search

        return search(line)
    _refuse_settings_of_a_search(line)
    from composer.cli import launchers
    from composer.cli.process import configure_process
    from composer.sweeps.run import run as sweep

    return launchers.run(line) if launchers.is_requested(line) else sweep(line, configure_process)


def _refuse_settings_of_a_search(line: ParsedArgs) -> None:
    """Refuse `search.…` where nothing is searched for."""
    for _, key, value in map(overrides.split, line.overrides):
        if key.startswith("search."):
            raise ComposerError(key, value, f"is about a search: add -m {SEARCH}")
