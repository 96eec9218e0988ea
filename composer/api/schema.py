"""JSON Schema of the complete config: groups with their options, and keys with types, ranges, defaults and
descriptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

from composer.api.option_schemas import OptionFile, option_schema, setting_schema
from composer.api.recipe_schemas import recipe_schema
from composer.api.root_keys import ROOT_KEYS
from composer.config.adapter_nodes import ADAPTERS
from composer.config.catalogue import contents, with_base
from composer.config.comments import settings_of
from composer.config.keys import CHOSEN, LISTS, NODES, OF_SWEEPS
from composer.config.search_path import MAIN, conf_folders, groups, option_files, options, packaged_conf
from composer.config.spec import ControlSpec, EmbeddingSpec, IpAdapterSpec, LoraSpec
from composer.system.json_schema import Schema, any_of, schema_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def config_schema(config_dir: str | None = None) -> Schema:
    """Describe the config of a run and of a sweep, with the options that are installed here.

    Args:
        config_dir: Directory with option files of your own.

    Returns:
        A JSON Schema (2020-12). It accepts the resolved config of a run, with `chosen` and without it, and `config` of
        run.json. `$defs` has `options.GROUP`, which lists the names of a group's options with a line about each, and
        `GROUP.NAME`, the settings of each option; those of a task are root keys, and those of a recipe what is typed
        beside its name.
    """
    folders = conf_folders(config_dir)
    known = {group: _option_files(group, folders) for group in groups(folders)}
    lines = {group: options(group, folders) for group in known}
    defs: dict[str, Schema] = {f"options.{group}": _names(named) for group, named in lines.items()}
    for group, named in known.items():
        if group not in ("task", "preset", "recipe"):
            defs |= {f"{group}.{name}": option_schema(option, lines[group][name]) for name, option in named.items()}
    defs |= {f"task.{name}": _task(option, lines["task"][name]) for name, option in known["task"].items()}
    keys = {name: list(defs[f"task.{name}"]["properties"]) for name in known["task"]}
    recipes = known["recipe"].items()
    defs |= {f"recipe.{name}": recipe_schema(option, lines["recipe"][name], defs) for name, option in recipes}
    return {
        "$schema": DIALECT,
        "title": "composer config",
        "type": "object",
        "properties": {**_root_keys(keys), **_nodes(known), CHOSEN: _chosen(known, folders)},
        "additionalProperties": False,
        "allOf": [_rule(name, named, keys) for name, named in keys.items()],
        "$defs": defs,
    }


def _option_files(group: str, folders: list[Path]) -> dict[str, OptionFile]:
    """Options of a group by name; the first directory that has one wins."""
    result: dict[str, OptionFile] = {}
    for file in (file for folder in folders for file in option_files(folder / group)):
        content = with_base(file, contents(file), folders)
        result.setdefault(file.stem, OptionFile(group, file.stem, file, content, tuple(folders)))
    return dict(sorted(result.items()))


def _names(lines: Mapping[str, str]) -> Schema:
    return {"oneOf": [{"const": name, "description": line} for name, line in lines.items()]}


def _task(option: OptionFile, line: str) -> Schema:
    """Root keys of a task with its defaults."""
    defaults = {key: value for key, value in option.content.items() if key not in ("defaults", "task")}
    comments = option.comments
    hints = {**ROOT_KEYS, **dict.fromkeys(key for key in defaults if key not in ROOT_KEYS)}
    properties = {key: setting_schema(key, hints[key], defaults, comments) for key in defaults}
    return {"type": "object", "title": option.name, "description": line, "properties": properties}


def _root_keys(of_tasks: Mapping[str, list[str]]) -> dict[str, Schema]:
    """Keys of all tasks, and those that compose.yaml declares."""
    rows = {row.key: row.comment for row in settings_of(packaged_conf() / MAIN)}
    defaults = contents(packaged_conf() / MAIN)
    keys = {key: any_of([schema_of(ROOT_KEYS[key]), {"type": "null"}]) if key in ROOT_KEYS else {} for key in (
        *dict.fromkeys(key for named in of_tasks.values() for key in named), "arguments")}  # fmt: skip
    named = ("batch", "prompt_overflow", "prompt_syntax", "wildcards")
    general = {key: setting_schema(key, ROOT_KEYS[key], defaults, rows) for key in named}
    adapters = {"lora": LoraSpec, "embedding": EmbeddingSpec, "ip_adapter": IpAdapterSpec, "control": ControlSpec}
    nodes = {root: {**_adapter(root, cls), "default": {}, "description": rows[root]} for root, cls in adapters.items()}
    return {**keys, **general, **nodes}


def _adapter(root: str, cls: type) -> Schema:
    """A node such as `lora`: settings of one adapter, and further ones under names of their own."""
    hints = get_type_hints(cls, include_extras=True)
    one = {name: schema_of(hint) for name, hint in hints.items()}
    one[ADAPTERS[root].source] = {"type": ["string", "null"]}
    for name in ("image", "mask"):
        if files := one.pop(f"{name}s", None):
            one[name] = any_of([files, {"type": "string"}])
    if "scales" in one:
        one["scale"] = any_of([one["scale"], {"type": "object"}])
    named = {"type": ["object", "string", "null"], "properties": one, "additionalProperties": False}
    return {"type": "object", "properties": one, "additionalProperties": named}


def _nodes(known: Mapping[str, Mapping[str, OptionFile]]) -> dict[str, Schema]:
    """Nodes of the groups: settings of one of the options, or in list groups of several under their names."""
    nodes: dict[str, Schema] = {}
    for group in (*NODES, *OF_SWEEPS):
        refs = {name: {"$ref": f"#/$defs/{group}.{name}"} for name in known.get(group, {})}
        if group == "task":
            nodes[group] = {"type": "object"}
        elif group in LISTS:
            nodes[group] = {"type": "object", "properties": refs, "additionalProperties": False}
        else:
            nodes[group] = {"anyOf": list(refs.values())}
    return nodes


def _chosen(known: Mapping[str, Any], folders: list[Path]) -> Schema:
    """Names of the chosen options."""
    listed = contents(packaged_conf() / MAIN).get("defaults", [])
    defaults = {group: name for entry in listed if isinstance(entry, dict) for group, name in entry.items()}
    chosen: dict[str, Schema] = {}
    for group in (group for group in NODES if group in known):
        names: Schema = {"$ref": f"#/$defs/options.{group}"}
        named = {"type": "array", "items": names} if group in LISTS else names
        chosen[group] = {**named, "default": defaults.get(group)}
    return {"type": "object", "properties": chosen, "additionalProperties": False}


def _rule(name: str, own: list[str], keys: Mapping[str, list[str]]) -> Schema:
    """With a task chosen, its keys have its limits, and those of other tasks are refused."""
    others = {key: False for key in dict.fromkeys(key for every in keys.values() for key in every) if key not in own}
    task = {"type": "object", "properties": {"task": {"const": name}}, "required": ["task"]}
    is_chosen = {"properties": {CHOSEN: task}, "required": [CHOSEN]}
    return {"if": is_chosen, "then": {"$ref": f"#/$defs/task.{name}", "properties": others}}
