"""`compose completion SHELL`."""

from __future__ import annotations

from composer.config.command_line import ParsedArgs
from composer.config.commands import COMMANDS
from composer.errors import ComposerError


def run(line: ParsedArgs) -> int:
    """Run `compose completion bash|zsh|fish`.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: There is no script for the shell.
    """
    if line.json:
        raise ComposerError("--json", None, "completion prints a script for a shell: leave it out")
    from composer.cli.completion import SCRIPTS, words

    if line.overrides[:1] == ["words"] and len(line.overrides) == 3:
        _, shell, typed = line.overrides
        print("\n".join(words(shell, typed, sorted(COMMANDS))))
        return 0
    if len(line.overrides) != 1 or line.overrides[0] not in SCRIPTS:
        raise ComposerError("completion", " ".join(line.overrides) or None, "for which shell?", SCRIPTS)
    print(SCRIPTS[line.overrides[0]])
    return 0
