"""`compose --warm …`, and `compose warm status` and `stop`."""

from __future__ import annotations

import os

from composer.config.command_line import ParsedArgs
from composer.errors import ComposerError


def run(line: ParsedArgs) -> int:
    """compose --warm overrides; compose warm status|stop"""
    if os.name == "nt":
        raise ComposerError("--warm", None, "needs Unix sockets, which Windows lacks: run without it")
    from composer.resident import client

    if line.command == "warm":
        return client.asked(line.overrides)
    if line.command is not None or line.flags or line.verbose:
        what = line.command or " ".join(line.flags) or "-v"
        raise ComposerError(
            "--warm", what, "is for a single run (a sweep keeps its models by itself): leave one of the two out"
        )
    folder = [] if line.config_dir is None else ["--config-dir", line.config_dir]
    manner = [flag for flag, wanted in {"--json": line.json, "--quiet": line.quiet}.items() if wanted]
    return client.call([*folder, *manner, *line.overrides])
