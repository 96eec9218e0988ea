"""Names of the commands of `compose`; a command's module is imported when the command is called."""

from __future__ import annotations

#: Name → `module:function` that takes the parsed command line and returns the exit code.
COMMANDS = {
    "list": "composer.cli.commands.options:run",
    "show": "composer.cli.commands.show:run",
    "plugins": "composer.cli.commands.plugins:run",
    "serve": "composer.cli.commands.serve:run",
    "mcp": "composer.cli.commands.mcp:run",
    "plan": "composer.cli.commands.sweeps:plan",
    "resume": "composer.cli.commands.sweeps:resume",
    "status": "composer.cli.commands.sweeps:status",
    "clean": "composer.cli.commands.clean:run",
    "models": "composer.cli.commands.models:run",
    "outputs": "composer.cli.commands.outputs:run",
    "cache": "composer.cli.commands.cache:run",
    "warm": "composer.cli.commands.warm:run",
    "check": "composer.cli.commands.check:run",
    "config": "composer.cli.commands.config:run",
    "schema": "composer.cli.commands.schema:run",
    "doctor": "composer.cli.commands.doctor:run",
    "completion": "composer.cli.commands.completion:run",
    "train": "composer.cli.commands.train:run",
    "rerun": "composer.cli.commands.rerun:rerun",
    "info": "composer.cli.commands.rerun:info",
}
