"""JSON Schema of a recipe: the keys that are typed beside `recipe=NAME`, for all steps and below the name of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from composer.api.option_schemas import OptionFile
from composer.config.keys import FILE_KEYS
from composer.config.recipes import DEFAULT_TASK, RECIPE, REUSE, STEPS, TASK, TOOL
from composer.system.json_schema import Schema


def recipe_schema(option: OptionFile, description: str, defs: Mapping[str, Schema]) -> Schema:
    """Describe a recipe.

    Args:
        option: Its option file.
        description: A line about it.
        defs: Schemas of the options of `task` and `tool`, by `GROUP.NAME`.

    Returns:
        Schema of an object: keys that go to all steps which do not set them themselves, `recipe.reuse`, and each step,
        an object with `task` or `tool` and the keys that are typed below its name. Defaults are those of the file.
    """
    content = {key: value for key, value in option.content.items() if key != "defaults"}
    named, reuse = content.pop(STEPS, None), content.pop(REUSE, True)
    named = named if isinstance(named, Mapping) else {}  # a run of a file without steps says what it lacks
    of_file = {name: values for name, values in named.items() if isinstance(values, Mapping)}
    steps = {name: _step(values, content, defs) for name, values in of_file.items()}
    shared = _shared(of_file, steps)
    shared |= {key: {**shared.get(key, {}), "default": value} for key, value in content.items()}
    properties = {**shared, f"{RECIPE}.{REUSE}": {"type": "boolean", "default": reuse}, **steps}
    return {"type": "object", "title": option.name, "description": description, "properties": properties}


def _step(values: Mapping[str, Any], shared: Mapping[str, Any], defs: Mapping[str, Schema]) -> Schema:
    kind = TOOL if TOOL in values else TASK
    name = values.get(kind, DEFAULT_TASK)
    declared = defs.get(f"{kind}.{name}", {}).get("properties", {})
    known = {key: about for key, about in declared.items() if not key.startswith("_")}
    of_all = {key: value for key, value in shared.items() if kind == TASK and key in known}
    typed = {key: _setting(key, value, known, defs) for key, value in {**of_all, **values}.items()}
    return {"type": "object", "properties": {**known, **typed, kind: {"const": name}}}


def _setting(key: str, value: Any, known: Mapping[str, Schema], defs: Mapping[str, Schema]) -> Schema:
    options = {"$ref": f"#/$defs/options.{key}"} if f"options.{key}" in defs and isinstance(value, str) else {}
    return {**known.get(key, options), "default": value}


def _shared(of_file: Mapping[str, Mapping[str, Any]], steps: Mapping[str, Schema]) -> dict[str, Schema]:
    """Keys of runs that at least one step does not set itself, as the first such step has them, but for images."""
    shared: dict[str, Schema] = {}
    for name, step in steps.items():
        if TASK in step["properties"]:
            kept = {*step["properties"]} - {TASK, *FILE_KEYS, *of_file[name]}
            for key in (key for key in step["properties"] if key in kept):
                shared.setdefault(key, step["properties"][key])
    return shared
