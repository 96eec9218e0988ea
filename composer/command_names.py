"""The commands of `compose` by their names. What they do is imported when it is asked for."""

from __future__ import annotations

#: Name → `module:function` that takes the parsed command line and returns the exit code.
COMMANDS = {
    "list": "composer.verbs.options:run",
    "show": "composer.verbs.show:run",
    "plugins": "composer.verbs.plugins:run",
    "plan": "composer.verbs.sweeps:plan",
    "resume": "composer.verbs.sweeps:resume",
    "status": "composer.verbs.sweeps:status",
    "clean": "composer.verbs.clean:run",
    "cache": "composer.verbs.cache:run",
    "warm": "composer.verbs.warm:run",
    "check": "composer.verbs.check:run",
    "config": "composer.verbs.config:run",
    "doctor": "composer.verbs.doctor:run",
    "completion": "composer.verbs.completion:run",
    "rerun": "composer.verbs.rerun:rerun",
    "info": "composer.verbs.rerun:info",
}
