"""The entry point `compose`: dispatches to a command or a run. Imports no torch until a config is valid.

Exit codes: 0 done; 1 the run failed; 2 the request cannot be met; 3 another process holds the lock of the directory;
130 interrupted.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from composer.cli.process import configure_process, owned_process
from composer.config.command_line import ParsedArgs, parse
from composer.config.commands import COMMANDS
from composer.errors import ComposerError
from composer.system import console, garbage, interrupts, loading_line


def run_console() -> NoReturn:
    """Run the command line of the process, and end the process."""
    garbage.pause()
    leave(main())


def leave(code: int) -> NoReturn:
    """End the process without taking the interpreter and torch apart, which takes a second and changes nothing.

    What was registered with `atexit` runs. With threads that have to end first, the process ends as usual.

    Args:
        code: The exit code.
    """
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # closed meanwhile
        sys.exit(code)
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    if not all(thread.daemon for thread in others):
        sys.exit(code)
    atexit._run_exitfuncs()  # multiprocessing calls it in its children, too
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        argv: The arguments; None for those of the process.

    Returns:
        The exit code.
    """
    with owned_process():
        return _ended(list(sys.argv[1:] if argv is None else argv))


def _ended(argv: list[str]) -> int:
    """Run a command line; an error becomes one line and an exit code."""
    verbose = False
    console.set_output_mode(False, "--json" in argv)  # for errors of parsing itself
    try:
        line = parse(argv)
        verbose = line.verbose
        console.set_output_mode(line.quiet, line.json)
        if not line.warm:  # the resident process makes the images
            configure_process(line.verbose)
        loading_line.start()
        code = run(line)
        interrupts.raise_if_interrupted()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:
        if interrupts.was_interrupted(error):
            return console.report_error("interrupted", 130)
        if isinstance(error, ComposerError):
            return console.report_error(error.reason, error.exit_code, error)
        if verbose:
            raise
        return console.report_error(f"{type(error).__name__}: {error} (-v shows where)", 1)


def run(line: ParsedArgs) -> int:
    """Dispatch a parsed command line.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: The request cannot be met.
    """
    if line.help_or_version == "help":
        from composer.cli.help import TEXT

        console.report_facts({"help": TEXT}, TEXT)
        return 0
    if line.help_or_version == "version":
        from composer.version import __version__

        console.report_facts({"composer": __version__}, f"composer {__version__}")
        return 0
    if line.json and (shown := next((flag for flag in line.flags if flag in ("-c", "--cfg")), None)):
        raise ComposerError(shown, None, "prints YAML: type compose config --json, or omit --json")
    if line.warm:
        from composer.cli.commands import warm

        return warm.run(line)
    if line.command is None:
        from composer.cli import hydra_run

        return hydra_run.run(line)
    if line.command not in COMMANDS:
        from composer.config.stray_words import stray_word_error

        raise stray_word_error([line.command, *line.overrides])
    module, _, function = COMMANDS[line.command].partition(":")
    return getattr(import_module(module), function)(line)
