"""Text of `compose plugins`: every plugin with its options, the moments they use, and whether it loads.

Each plugin is loaded in a separate process, so that none can break the listing.
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


def load_all() -> list[tuple[Plugin, dict[str, Any]]]:
    """Load every plugin, each in a separate process.

    Returns:
        The plugins, each with its states: `error`, or `group=option` to the moments used or to what is wrong.
    """
    installed = plugins()
    with ThreadPoolExecutor(4) as pool:
        return list(zip(installed, pool.map(tried, installed)))


def listing(loaded: list[tuple[Plugin, dict[str, Any]]]) -> str:
    """Format all plugins as text.

    Args:
        loaded: The plugins with their states, of `load_all`.

    Returns:
        The lines.
    """
    if not loaded:
        none = f"no plugins are installed (packages with an entry point of the group {GROUP})"
        return f"{none}; `compose plugins new NAME` writes one"
    return "\n".join(line for plugin, states in loaded for line in block(plugin, states))


def facts(loaded: list[tuple[Plugin, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Format all plugins as plain data.

    Args:
        loaded: The plugins with their states, of `load_all`.

    Returns:
        A mapping for each plugin. `error` is why it does not load, `options` maps an option to the moments that it
        uses, or to what is wrong with it.
    """
    return [
        {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "error": states.get("error"),
            "options": {f"{group}={name}": states.get(f"{group}={name}", "") for group, name in offered(plugin)},
            "families": {name: states.get(f"family={name}", "") for name, _ in plugin.families},
        }
        for plugin, states in loaded
    ]


def block(plugin: Plugin, states: dict[str, Any]) -> list[str]:
    """Format one plugin.

    Args:
        plugin: The plugin.
        states: `error`, or `group=option` to the moments used or to what is wrong.

    Returns:
        Its lines.
    """
    lines = [f"{plugin.name}  ({plugin})  {states.get('error') or 'loads'}"]
    doubtful = clashes()
    for group, name in offered(plugin):
        option, state = f"{group}={name}", states.get(f"{group}={name}", "")
        if hidden((group, name)):
            state = "hidden by composer's own option of this name"
        elif (group, name) in doubtful:
            others = ", ".join(str(other) for other in doubtful[group, name] if other != plugin)
            state = f"also offered by {others}: neither can be chosen"
        assert plugin.conf is not None  # it has options
        text = describe(plugin.conf / group / f"{name}.yaml")
        lines.append(f"  {option}  {text}" + (f"\n      {state}" if state else ""))
    return [
        *lines,
        *(f"  model.family={name}  {states.get(f'family={name}', '')}".rstrip() for name, _ in plugin.families),
    ]


def tried(plugin: Plugin) -> dict[str, Any]:
    """Load a plugin's classes in another process.

    Args:
        plugin: The plugin.

    Returns:
        Its states: `error`, or `group=option` to the moments used or to what is wrong.
    """
    targets = {
        f"{group}={name}": target
        for group, name in offered(plugin)
        if plugin.conf and (target := class_in(plugin.conf, group, name))
    }
    command = [sys.executable, "-c", f"from {__name__} import probe; probe()"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(
                {"package": plugin.package, "targets": targets, "families": [name for name, _ in plugin.families]}
            ),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"does not load within {PATIENCE} s"}
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {"error": printable(f"does not load: {why}")}


def probe() -> None:
    """Import the package and its classes, and print their states as JSON. Runs in the other process."""
    from importlib import import_module

    from composer.callbacks.base import StepCallback
    from composer.checkpoints.layouts import broken_families, families
    from composer.config.spec import Choice
    from composer.config.targets import resolve
    from composer.sampling.hooks import MOMENTS

    request = json.load(sys.stdin)
    states: dict[str, str] = {}
    try:
        import_module(request["package"])
    except (Exception, SystemExit) as error:
        states["error"] = printable(f"does not load: {type(error).__name__}: {error}")
    for option, path in request["targets"].items() if not states else ():
        try:
            cls = resolve(option.split("=")[0], Choice(path=path))
            moments = ("around", *MOMENTS) if issubclass(cls, StepCallback) else ()
            states[option] = ", ".join(
                moment for moment in moments if getattr(cls, moment) is not getattr(StepCallback, moment)
            )
        except ComposerError as error:
            states[option] = str(error)
    for name in request["families"] if "error" not in states else ():
        info = families().get(name)
        states[f"family={name}"] = broken_families().get(name, "") if info is None else info.pipeline
    print(json.dumps(states))
