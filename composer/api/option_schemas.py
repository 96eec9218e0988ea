"""JSON Schema of one option: its keys with types and ranges of the class, defaults and comments of the option file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from composer.config.catalogue import BASE
from composer.config.comments import settings_of
from composer.config.keys import LISTS, OF_OPTION_FILES
from composer.config.spec import Choice, Dtype, ModelSpec, OutputSpec, PrecisionSpec
from composer.config.targets import resolve
from composer.errors import ComposerError
from composer.sampling.scheduler_settings import setting_hints
from composer.sweeps.spec import RaySpec, SearchSpec, SheetSpec, SweepSpec
from composer.system.constraints import fits
from composer.system.json_schema import Schema, any_of, schema_of

#: Group → dataclass that its node is read into.
SPECS = {
    "model": ModelSpec, "precision": PrecisionSpec, "output": OutputSpec, "sweep": SweepSpec, "sheet": SheetSpec,
    "ray": RaySpec, "search": SearchSpec,
}  # fmt: skip
#: Keys that a node has beside those of its dataclass or class.
FURTHER: Mapping[str, Mapping[str, Any]] = {
    "model": {
        "recommended": Mapping[str, Any],
        "variants": Mapping[str, Any],
        "refiner": str | Mapping[str, Any] | None,
        "sha256": str | Mapping[str, str] | None,
    },
    "callbacks": {"on_error": str},
    "device": {"type": str},
    "sweep": {"zip": list[Any], "name": str | float | None},
}
#: Arguments of a scheduler's step that composer passes itself.
_OF_STEP = ("self", "model_output", "timestep", "sample", "generator", "return_dict")


@dataclass(frozen=True)
class OptionFile:
    """An option.

    Attributes:
        group: Its group.
        name: Its name.
        file: Its file.
        content: What the file holds, completed by the group's `_base.yaml`.
        folders: Directories of option files.
    """

    group: str
    name: str
    file: Path
    content: Mapping[str, Any]
    folders: tuple[Path, ...]

    @property
    def node(self) -> Mapping[str, Any]:
        """The settings themselves, without the option's name where a list group nests them under it."""
        node = self.content.get(self.name) if self.group in LISTS else self.content
        return node if isinstance(node, Mapping) else {}

    @property
    def comments(self) -> dict[str, str]:
        """Dotted key → comment, of the file over those of the group's `_base.yaml`."""
        bases = [folder / self.group / f"{BASE}.yaml" for folder in self.folders]
        files = [*[base for base in bases if base.is_file()][:1], self.file]
        comments = {row.key: row.comment for file in files for row in settings_of(file) if row.comment}
        return {
            key.removeprefix(f"{self.name}.") if self.group in LISTS else key: text for key, text in comments.items()
        }


def option_schema(option: OptionFile, description: str) -> Schema:
    """Describe the node of an option.

    Args:
        option: The option.
        description: A line about it.

    Returns:
        Schema of an object. Unknown keys are refused, unless the class cannot be imported or takes any.
    """
    hints, is_closed = _hints(option)
    defaults = {key: value for key, value in option.node.items() if key != "defaults" and not key.startswith("_")}
    comments = option.comments
    keys = dict.fromkeys([*defaults, *hints])
    properties = {key: setting_schema(key, hints.get(key), defaults, comments) for key in keys}
    for name in OF_OPTION_FILES:  # a config has them, and a record does not
        if name in option.node:
            properties[name] = {"const": option.node[name]}
    required = [key for key, value in defaults.items() if value == "???"]
    schema: Schema = {"type": "object", "title": option.name, "description": description, "properties": properties}
    return (
        schema | ({"required": required} if required else {}) | ({"additionalProperties": False} if is_closed else {})
    )


def setting_schema(
    key: str, hint: Any, defaults: Mapping[str, Any], comments: Mapping[str, str], above: str = ""
) -> Schema:  # fmt: skip
    """Describe one key.

    Args:
        key: The key.
        hint: Annotation of its values; None for any.
        defaults: Key → default of the option file.
        comments: Dotted key → comment.
        above: Dotted key of the node, with a dot at its end.

    Returns:
        A schema that accepts the default too, such as null where the model recommends a value.
    """
    schema = {} if hint is None else schema_of(hint)
    path, value = f"{above}{key}", defaults.get(key)
    if hint is None and isinstance(value, Mapping):
        inner = {name: setting_schema(name, None, value, comments, f"{path}.") for name in value}
        schema = {"type": "object", "properties": inner}
    if path in comments:
        schema = {**schema, "description": comments[path]}
    if key not in defaults or value == "???":
        return schema
    if hint is not None and not fits(value, hint):
        described = {"description": schema.pop("description")} if "description" in schema else {}
        schema = {**any_of([schema, {"const": value}]), **described}
    return {**schema, "default": value}


def _hints(option: OptionFile) -> tuple[dict[str, Any], bool]:
    """Key → annotation, and whether there are no other keys."""
    further = dict(FURTHER.get(option.group, {}))
    if spec := SPECS.get(option.group):
        named = get_type_hints(spec, include_extras=True)
        hints = {field.name: named[field.name] for field in fields(spec)}
        if spec is PrecisionSpec:  # other keys are components
            hints = {"dtype": Dtype, **{key: hint for key, hint in hints.items() if key != "components"}}
        return hints | further, spec is not PrecisionSpec
    target = option.node.get("_target_")
    if not isinstance(target, str):  # the checkpoint's own scheduler, whose class is not known here
        return further, option.group == "device"
    try:
        cls = resolve(option.group, Choice(path=target))
    except ComposerError:  # of a package that is not installed
        return further, False
    if option.group == "scheduler":
        return setting_hints(cls) | _step_arguments(cls), True
    parameters = inspect.signature(cls).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return further, False
    known = get_type_hints(cls.__init__, include_extras=True)  # type: ignore[misc]  # of the class, not of an object
    return {parameter.name: known.get(parameter.name) for parameter in parameters} | further, True


def _step_arguments(cls: type) -> dict[str, Any]:
    """Arguments of a scheduler's step, such as `eta`, which are settings too."""
    step = getattr(cls, "step", None)
    names = inspect.signature(step).parameters if step else ()
    return dict.fromkeys(name for name in names if name not in _OF_STEP)
