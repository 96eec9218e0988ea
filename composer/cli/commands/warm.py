"""`compose --warm …`, and `compose warm status` and `stop`."""

from __future__ import annotations

import os

from composer.config.command_line import ParsedArgs
from composer.errors import ComposerError


def run(line: ParsedArgs) -> int:
    """Run `compose --warm …`, `compose warm status` or `compose warm stop`.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: The system has no Unix sockets, or the command is not a single run.
    """
    if os.name == "nt":
        raise ComposerError("--warm", None, "needs Unix sockets, which Windows lacks: run without it")
    from composer.resident import client

    if line.command == "warm":
        return client.warm_command(line.overrides)
    if line.command is not None or line.flags or line.verbose:
        what = line.command or " ".join(line.flags) or "-v"
        raise ComposerError(
            "--warm", what, "is for a single run (a sweep keeps its models by itself): omit one of the two"
        )
    folder = [] if line.config_dir is None else ["--config-dir", line.config_dir]
    manner = [flag for flag, given in {"--json": line.json, "--quiet": line.quiet}.items() if given]
    return client.call([*folder, *manner, *line.overrides])
