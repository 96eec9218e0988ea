"""Conversion of a composed config into a `RunSpec`; unknown keys and values of a wrong type are refused.

No other module reads a `DictConfig`, except `sweeps/settings.py`, which uses this one. Hydra accepts `+typo=3`, so keys
are compared with the fields of the specs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from inspect import signature
from math import isfinite
from types import MappingProxyType, NoneType
from typing import Annotated, Any, Literal, TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from composer.config.by_kind import SchedulerKind, schedulers_by_kind
from composer.config.choices import option_of
from composer.config.control import read_controls
from composer.config.embeddings import read_embeddings
from composer.config.ip_adapters import read_ip_adapters
from composer.config.keys import CHOSEN, NODES, OF_SWEEPS, is_reserved
from composer.config.lora import read_loras
from composer.config.overrides import refuse_odd_text
from composer.config.secrets import iter_leaves, refuse_secrets
from composer.config.spec import (
    Batch,
    Choice,
    Dtype,
    LongPrompts,
    ModelSpec,
    OutputSpec,
    PrecisionSpec,
    PromptSyntax,
    RefinerSpec,
    RunSpec,
    SchedulerSpec,
    SyntaxName,
)
from composer.errors import ComposerError, suggest
from composer.system import devices
from composer.system.constraints import Ge, check_arguments, require

SpecT = TypeVar("SpecT")
_SCALARS = frozenset({str, int, float, bool, NoneType})
#: Keys of a `variants` entry of a model that replace the model's own.
_CHECKPOINT = ("source", "revision", "variant", "config", "components")


def read(config: DictConfig | Mapping[str, Any]) -> RunSpec:
    """Convert a composed config into the specification of a run.

    Args:
        config: A composed config, or plain data of a record.

    Returns:
        The specification.

    Raises:
        ComposerError: A key is unknown, a value is missing, of a wrong type, or looks like a secret.
    """
    tree = plain(config)
    for node in OF_SWEEPS:
        tree.pop(node, None)
    chosen = mapping(CHOSEN, tree.pop(CHOSEN, None))
    if "recipe" in tree:
        raise ComposerError("recipe", None, "has several steps, and only single runs are possible here")
    if "tool" in tree:
        raise ComposerError("tool", None, "is for steps of recipes, STEP.tool=NAME: `compose list recipe` shows them")
    _require_text_keys(tree)
    refuse_secrets(tree)
    _require_valid_values(tree)
    model = mapping("model", tree.get("model"))
    model.setdefault("name", model.get("source"))
    recorded = for_record(tree)
    task = _target("task", tree.pop("task", None), chosen)
    nodes = {name: mapping(name, tree.pop(name, None)) for name in NODES if name != "task"}
    checkpoint, defaults = _model(nodes["model"], task)
    device = devices.parse_device("device.type", nodes["device"].pop("type", None))
    _refuse_other_keys("device", nodes["device"])
    batch = require("batch", tree.pop("batch", None), Batch)
    overflow = require("prompt_overflow", tree.pop("prompt_overflow", "warn"), LongPrompts)
    syntax, is_dynamic = _syntax(tree.pop("prompt_syntax", "text"))
    wildcards = require("wildcards", tree.pop("wildcards", None), str | None)
    loras = read_loras(mapping("lora", tree.pop("lora", None)))
    embeddings = read_embeddings(mapping("embedding", tree.pop("embedding", None)))
    controls = read_controls(mapping("control", tree.pop("control", None)))
    ip_adapters = read_ip_adapters(mapping("ip_adapter", tree.pop("ip_adapter", None)))
    skip_on_error = frozenset(name for name, node in nodes["callbacks"].items() if on_error(name, node) == "skip")
    return RunSpec(
        skip_on_error=skip_on_error,
        task=task,
        model=checkpoint,
        scheduler=_scheduler(nodes["scheduler"], chosen),
        guidance=_guidance(nodes["guidance"], defaults.get("guidance"), chosen),
        callbacks=read_options("callbacks", nodes["callbacks"]),
        memory=read_options("memory", nodes["memory"]),
        accel=read_options("accel", nodes["accel"]),
        metrics=read_options("metric", nodes["metric"]),
        precision=_precision(nodes["precision"]),
        device=device,
        batch=batch,
        overflow=overflow,
        prompt_syntax=syntax,
        dynamic_prompts=is_dynamic,
        wildcards=wildcards,
        loras=loras,
        embeddings=embeddings,
        controls=controls,
        ip_adapters=ip_adapters,
        options=MappingProxyType(chosen),
        output=build_spec("output", OutputSpec, nodes["output"]),
        values=MappingProxyType(_with_recommended_steps(tree, defaults)),
        config=MappingProxyType(recorded),
    )


def with_values(spec: RunSpec, values: Mapping[str, Any]) -> RunSpec:
    """Give a run other values of root keys that only its task reads, such as the prompt and the seed.

    Args:
        spec: Settings of a run that has these keys.
        values: Root key → value.

    Returns:
        The settings that `read` would make of the config with these values.

    Raises:
        ComposerError: A value is missing, or looks like a secret.
    """
    tree = plain(values)
    _require_text_keys(tree)
    refuse_secrets(tree)
    _require_valid_values(tree)
    recorded = MappingProxyType({**spec.config, **for_record(tree)})
    return replace(spec, values=MappingProxyType({**spec.values, **tree}), config=recorded)


def mapping(key: str, node: Any) -> dict[str, Any]:
    """Return a node as a mapping; null is an empty one.

    Args:
        key: Config key of the node, for messages.
        node: Plain data.

    Returns:
        The node.

    Raises:
        ComposerError: It is neither a mapping nor null.
    """
    if node is not None and not isinstance(node, Mapping):
        raise ComposerError(key, node, "must hold settings by their names, as the option files of composer do")
    return cast("dict[str, Any]", node or {})  # `plain` makes dictionaries of all mappings


def _require_text_keys(node: Any, where: str = "") -> None:
    """Refuse keys that are no text; in YAML a key can be a number or null."""
    pairs = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for name, value in pairs:
        if isinstance(node, Mapping) and not isinstance(name, str):
            raise ComposerError(
                where or "config", {name: value}, f"a key must be text, and this one is {name!r}: put quotes around it"
            )
        _require_text_keys(value, f"{where}.{name}" if where else str(name))


def _require_valid_values(tree: Mapping[str, Any]) -> None:
    """Refuse non-finite numbers, which diffusers would accept silently, and text that cannot be recorded."""
    for key, value in iter_leaves(tree):
        if isinstance(value, float) and not isfinite(value):
            raise ComposerError(key, value, "must be a finite number")
        if isinstance(value, str):
            refuse_odd_text(key, value)


def copied(node: Any) -> Any:
    """Copy plain data, many times faster than `copy.deepcopy`.

    Args:
        node: Mappings, lists, tuples and values.

    Returns:
        Dictionaries, lists and the same values.
    """
    if type(node) in _SCALARS:  # most of the calls
        return node
    if isinstance(node, Mapping):
        return {key: copied(value) for key, value in node.items()}
    return [copied(value) for value in node] if isinstance(node, (list, tuple)) else node


def plain(config: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """Copy a config as plain data, with interpolations resolved.

    Args:
        config: A config, or plain data.

    Returns:
        Dictionaries, lists and values.

    Raises:
        ComposerError: A value is missing, or an interpolation cannot be resolved.
    """
    if not isinstance(config, DictConfig):
        tree = copied(config)
        missing = next(_missing(tree), None)
        if missing:
            raise ComposerError(missing, None, f"a value is needed: {missing}=…")
        return tree
    try:
        container = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        return cast("dict[str, Any]", container)  # that of a mapping is a dict
    except MissingMandatoryValue as error:
        raise ComposerError(str(error.full_key), None, f"a value is needed: {error.full_key}=…") from None
    except OmegaConfBaseException as error:
        raise ComposerError(str(error.full_key or "config"), None, str(error).splitlines()[0]) from None


def _missing(node: Any, key: str = "") -> Iterator[str]:
    """Dotted keys without a value (`???`)."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _missing(value, f"{key}.{name}" if key else name)
    elif node == "???":
        yield key


def _syntax(value: Any) -> tuple[PromptSyntax, bool]:
    """How prompts are read, and whether choices are made in them first."""
    names = value if isinstance(value, list) and value else [value]
    for name in names:
        require("prompt_syntax", name, SyntaxName)
    if "text" in names and len(names) > 1:
        raise ComposerError("prompt_syntax", value, "text reads no other syntax: leave it out")
    return "weights" if "weights" in names else "text", "dynamic" in names


def _target(key: str, node: Mapping[str, Any], chosen: Mapping[str, Any] = MappingProxyType({})) -> Choice:
    """Convert a node into the option that it describes.

    Args:
        key: Config key of the node; its last part is the option's name in a list group.
        node: The node, with `_target_`.
        chosen: Group → name of the chosen option.

    Raises:
        ComposerError: The node names no class.
    """
    group, _, name = key.partition(".")
    if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
        raise ComposerError(key, node, f"choose an option by its name: `compose list {group}` shows them")
    path, keywords = node["_target_"], MappingProxyType({k: v for k, v in node.items() if not is_reserved(k)})
    return Choice(
        path=path, keywords=keywords, group=group, name=name or str(chosen.get(group) or option_of(group, path) or "")
    )


def for_record(node: Any) -> Any:
    """Copy a config for the record, without keys that only option files hold, such as the class of an option.

    Args:
        node: Plain data.

    Returns:
        A copy.
    """
    if isinstance(node, Mapping):
        return {key: for_record(value) for key, value in node.items() if not is_reserved(key)}
    return [for_record(value) for value in node] if isinstance(node, (list, tuple)) else node


def read_options(group: str, nodes: Mapping[str, Any]) -> Mapping[str, Choice]:
    """Convert the node of a list group.

    Args:
        group: Name of the group.
        nodes: Option → its node.

    Returns:
        Options by name.

    Raises:
        ComposerError: A node names no class.
    """
    return MappingProxyType({name: _target(f"{group}.{name}", node) for name, node in nodes.items()})


def on_error(name: str, node: Any) -> Literal["fail", "skip"]:
    """Remove `on_error` from a callback's node.

    Args:
        name: Name of the callback.
        node: Its node; it is changed in place.

    Returns:
        What to do when the callback fails: abort the run, or drop the callback.

    Raises:
        ComposerError: Another value.
    """
    value = node.pop("on_error", "fail") if isinstance(node, dict) else "fail"
    return require(f"callbacks.{name}.on_error", value, Literal["fail", "skip"])


def _model(node: dict[str, Any], task: Choice) -> tuple[ModelSpec, dict[str, Any]]:
    """The checkpoint for a task, and the recommended steps and guidance scale."""
    defaults, variants = (mapping(f"model.{name}", node.pop(name, None)) for name in ("recommended", "variants"))
    # a task option of the user's own needs the weights of composer's option with the same class
    name = task.name if task.name in variants else option_of("task", task.path) or task.name
    variant, where = mapping(f"model.variants.{name}", variants.get(name)), f"model.variants.{name}.components"
    # the user's components take precedence over the variant's
    chosen = {**mapping(where, variant.get("components")), **mapping("model.components", node.get("components"))}
    node.update({key: value for key, value in variant.items() if key in _CHECKPOINT}, components=chosen)
    defaults.update({key: value for key, value in variant.items() if key not in _CHECKPOINT})
    refuse_unknown_keys("model", node, [field.name for field in fields(ModelSpec)])
    refuse_unknown_keys("model.recommended", defaults, ("steps", "guidance"))
    if not isinstance(node.get("source"), str) or not node["source"]:
        raise ComposerError("model.source", node.get("source"), "a folder, a hub id or a .safetensors file is needed")
    if not isinstance(node["name"], str):
        raise ComposerError("model.name", node["name"], "must be text: what messages call this model")
    node["sha256"] = _hashes(node.get("sha256"))
    node["components"] = {name: part for name, part in chosen.items() if part is not None}
    node["refiner"] = _refiner(node.get("refiner"))
    return build_spec("model", ModelSpec, node), defaults


def _hashes(node: Any) -> Mapping[str, str]:
    """Expected SHA-256 by file; a single value is that of a single file."""
    hashes = {} if node is None else node if isinstance(node, Mapping) else {"": node}
    for name, value in hashes.items():
        if not re.fullmatch(r"[0-9a-fA-F]{64}", str(value)):
            raise ComposerError(
                "model.sha256", value, f"must be 64 hexadecimal digits{f', of the file {name}' if name else ''}"
            )
    return {name: str(value) for name, value in hashes.items()}


def _refiner(node: Any) -> RefinerSpec | None:
    """The refiner's checkpoint, from a source alone or from several settings."""
    if node is None:
        return None
    given = node if isinstance(node, Mapping) else {"source": node}
    refuse_unknown_keys("model.refiner", given, [field.name for field in fields(RefinerSpec)])
    if not isinstance(given.get("source"), str) or not given["source"]:
        raise ComposerError("model.refiner", node, "a folder, a hub id, or {source: …, start: 0.8} is needed")
    return build_spec("model.refiner", RefinerSpec, given)


def _scheduler(node: dict[str, Any], chosen: Mapping[str, Any]) -> SchedulerSpec:
    keywords = MappingProxyType({k: v for k, v in node.items() if not is_reserved(k)})
    target = (
        replace(_target("scheduler", node, chosen), keywords=MappingProxyType({})) if node.get("_target_") else None
    )
    return SchedulerSpec(
        target=target,
        kind=require("scheduler._kind_", node.get("_kind_"), SchedulerKind | None),
        keywords=keywords,
        name=str(chosen.get("scheduler") or "default"),
        by_kind=schedulers_by_kind(node.get("_by_kind_")),
        most_steps=require("scheduler._most_steps_", node.get("_most_steps_"), Annotated[int, Ge(1)] | NoneType),
    )


def _guidance(node: dict[str, Any], recommended: float | None, chosen: Mapping[str, Any]) -> Choice:
    if node.get("scale", 0) is None:
        node["scale"] = recommended  # None where only the checkpoint knows
    return _target("guidance", node, chosen)


def _precision(node: dict[str, Any]) -> PrecisionSpec:
    """Dtypes of a run; keys that are no setting are components with a dtype of their own."""
    settings: dict[str, Any] = {
        name: node.pop(name) for name in ("strict", "force", "cache", "vae_upcast", "storage") if name in node
    }
    settings["dtype"] = node.pop("dtype", None)
    parts = {name: require(f"precision.{name}", value, Dtype) for name, value in node.items() if value is not None}
    spec = build_spec("precision", PrecisionSpec, {**settings, "components": MappingProxyType(parts)})
    if spec.strict and spec.force:
        raise ComposerError(
            "precision.force", True, "contradicts precision.strict, which refuses: leave one of the two out"
        )
    return spec


def _with_recommended_steps(values: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Set the model's recommended steps; None where only the checkpoint knows them, see `recommend`."""
    if values.get("steps", 0) is None:
        values["steps"] = defaults.get("steps")
    return values


def build_spec(key: str, spec: type[SpecT], node: Mapping[str, Any]) -> SpecT:
    """Create a spec from a node.

    Args:
        key: Config key of the node.
        spec: A dataclass whose fields are annotated as `composer.system.constraints` reads them.
        node: Plain data.

    Returns:
        The spec.

    Raises:
        ComposerError: The node has a key that is no field, or a value that the field's annotation does not allow.
    """
    refuse_unknown_keys(key, node, list(signature(spec).parameters))
    check_arguments(key, spec, node)
    return spec(**node)


def refuse_unknown_keys(key: str, node: Mapping[str, Any], allowed: Sequence[str]) -> None:
    """Refuse keys of a node that no schema knows.

    Args:
        key: Config key of the node, for messages.
        node: Plain data.
        allowed: Known keys.

    Raises:
        ComposerError: A key is unknown, with the nearest known one.
    """
    for name in node:
        if name not in allowed:
            raise ComposerError(f"{key}.{name}", node[name], f"there is no such key.{suggest(name, allowed)}", allowed)


def _refuse_other_keys(key: str, node: Mapping[str, Any]) -> None:
    refuse_unknown_keys(key, node, ())
