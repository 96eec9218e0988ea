"""What `compose plugins` shows: every plugin with its options, the moments they use, and whether it loads.

Each is tried in a process of its own, so that nothing of it runs in this one and none can spoil the listing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from composer.config.choices import class_in
from composer.config.plugins import GROUP, Plugin, plugins
from composer.config.search_path import clashes, describe, hidden, offered
from composer.errors import ComposerError, printable

#: Seconds that a plugin may take to load.
PATIENCE = 120


def found() -> list[tuple[Plugin, dict[str, Any]]]:
    """All plugins, each with what came of loading it."""
    there = plugins()
    with ThreadPoolExecutor(4) as pool:
        return list(zip(there, pool.map(tried, there)))


def listing(there: list[tuple[Plugin, dict[str, Any]]]) -> str:
    """All plugins, as text."""
    if not there:
        return f"no plugins are installed (packages with an entry point of the group {GROUP}); `compose plugins new NAME` writes one"
    return "\n".join(line for plugin, states in there for line in block(plugin, states))


def facts(there: list[tuple[Plugin, dict[str, Any]]]) -> list[dict[str, Any]]:
    """All plugins, as plain data. error: why one does not load. state: of an option, the moments it uses or what is
    wrong with it.
    """
    return [
        {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "error": states.get("error"),
            "options": {f"{group}={name}": states.get(f"{group}={name}", "") for group, name in offered(plugin)},
        }
        for plugin, states in there
    ]


def block(plugin: Plugin, states: dict[str, Any]) -> list[str]:
    """A plugin's lines; states: `error`, or by `group=option` the moments used or what is wrong."""
    lines = [f"{plugin.name}  ({plugin})  {states.get('error') or 'loads'}"]
    doubtful = clashes()
    for group, name in offered(plugin):
        option, state = f"{group}={name}", states.get(f"{group}={name}", "")
        if hidden((group, name)):
            state = "hidden by composer's own option of this name"
        elif (group, name) in doubtful:
            state = f"also offered by {', '.join(str(other) for other in doubtful[group, name] if other != plugin)}: neither can be chosen"
        text = describe(plugin.conf / group / f"{name}.yaml")
        lines.append(f"  {option}  {text}" + (f"\n      {state}" if state else ""))
    return lines


def tried(plugin: Plugin) -> dict[str, Any]:
    """Load a plugin's classes in another process."""
    targets = {
        f"{group}={name}": target for group, name in offered(plugin) if (target := class_in(plugin.conf, group, name))
    }
    command = [sys.executable, "-c", f"from {__name__} import probe; probe()"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps({"package": plugin.package, "targets": targets}),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"error": f"does not load within {PATIENCE} s"}
    except (ValueError, IndexError):
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {"error": printable(f"does not load: {why}")}


def probe() -> None:
    """In the other process: import the package and its classes, say on stdout what was found."""
    from importlib import import_module

    from composer.callbacks.base import StepCallback
    from composer.config.spec import Choice
    from composer.config.targets import resolve
    from composer.sampling.hooks import MOMENTS

    asked = json.load(sys.stdin)
    found: dict[str, str] = {}
    try:
        import_module(asked["package"])
    except (Exception, SystemExit) as error:
        found["error"] = printable(f"does not load: {type(error).__name__}: {error}")
    for option, path in asked["targets"].items() if not found else ():
        try:
            cls = resolve(option.split("=")[0], Choice(path=path))
            moments = ("around", *MOMENTS) if issubclass(cls, StepCallback) else ()
            found[option] = ", ".join(
                moment for moment in moments if getattr(cls, moment) is not getattr(StepCallback, moment)
            )
        except ComposerError as error:
            found[option] = str(error)
    print(json.dumps(found))
