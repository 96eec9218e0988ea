"""Composed DictConfig → RunSpec: the only reader of DictConfig; what a sweep reads besides is in `sweep/settings.py`,
by its help.

What a schema does not know is refused by name here, since Hydra lets `+typo=3` through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from inspect import signature
from math import isfinite
from types import MappingProxyType
from typing import Any, Literal, TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from composer.config.choices import option_of
from composer.config.keys import CHOSEN, NODES, OF_SWEEPS
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
    RefinerSpec,
    RunSpec,
    SchedulerSpec,
)
from composer.errors import ComposerError, suggest
from composer.system import devices
from composer.system.constraints import check_arguments, require

SpecT = TypeVar("SpecT")
#: Keys of a `variants` entry of a model that replace the model's own.
_CHECKPOINT = ("source", "revision", "variant", "config", "components")


def read(config: DictConfig | Mapping[str, Any]) -> RunSpec:
    """Turn a composed config, or plain data that was one, into what the rest of composer reads.

    Raises:
        ComposerError: a key that no schema knows, a missing value, or a value of the wrong type.
    """
    tree = plain(config)
    for node in OF_SWEEPS:
        tree.pop(node, None)
    chosen = mapping(CHOSEN, tree.pop(CHOSEN, None))
    _named(tree)
    refuse_secrets(tree)
    _finite(tree)
    model = mapping("model", tree.get("model"))
    model.setdefault("name", model.get("source"))
    whole = _told(tree)
    task = _target("task", tree.pop("task", None), chosen)
    nodes = {name: mapping(name, tree.pop(name, None)) for name in NODES if name != "task"}
    checkpoint, defaults = _model(nodes["model"], task)
    device = devices.parse_device("device.type", nodes["device"].pop("type", None))
    _nothing_left("device", nodes["device"])
    batch = require("batch", tree.pop("batch", None), Batch)
    overflow = require("prompt_overflow", tree.pop("prompt_overflow", "warn"), LongPrompts)
    skip_on_error = frozenset(name for name, node in nodes["callbacks"].items() if on_error(name, node) == "skip")
    return RunSpec(
        skip_on_error=skip_on_error,
        task=task,
        model=checkpoint,
        scheduler=_scheduler(nodes["scheduler"], chosen),
        guidance=_guidance(nodes["guidance"], defaults.get("guidance"), chosen),
        callbacks=_options("callbacks", nodes["callbacks"]),
        memory=_options("memory", nodes["memory"]),
        accel=_options("accel", nodes["accel"]),
        precision=_precision(nodes["precision"]),
        device=device,
        batch=batch,
        overflow=overflow,
        chosen=MappingProxyType(chosen),
        output=build_spec("output", OutputSpec, nodes["output"]),
        values=MappingProxyType(_settled(tree, defaults)),
        config=MappingProxyType(whole),
    )


def mapping(key: str, node: Any) -> dict[str, Any]:
    """What a node holds by name; null is nothing.

    Raises:
        ComposerError: it is something else.
    """
    if node is not None and not isinstance(node, Mapping):
        raise ComposerError(key, node, "must hold settings by their names, as the option files of composer do")
    return cast("dict[str, Any]", node or {})  # `plain` makes dictionaries of all mappings


def _named(node: Any, where: str = "") -> None:
    """In YAML a key can be a number or nothing at all; nothing here is called that."""
    pairs = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for name, value in pairs:
        if isinstance(node, Mapping) and not isinstance(name, str):
            raise ComposerError(
                where or "config", {name: value}, f"a key must be text, and this one is {name!r}: put quotes around it"
            )
        _named(value, f"{where}.{name}" if where else str(name))


def _finite(tree: Mapping[str, Any]) -> None:
    """diffusers would take nan for guidance, leave guidance out and say nothing; text that can't be written would fail
    after drawing.
    """
    for key, value in iter_leaves(tree):
        if isinstance(value, float) and not isfinite(value):
            raise ComposerError(key, value, "must be a finite number")
        if isinstance(value, str):
            refuse_odd_text(key, value)


def copied(node: Any) -> Any:
    """Of plain data; many times faster than deepcopy."""
    if isinstance(node, Mapping):
        return {key: copied(value) for key, value in node.items()}
    return [copied(value) for value in node] if isinstance(node, (list, tuple)) else node


def plain(config: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """A copy as plain data, interpolations resolved.

    Raises:
        ComposerError: a value is missing, or can't be resolved.
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
    """Dotted keys that still wait for a value."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _missing(value, f"{key}.{name}" if key else name)
    elif node == "???":
        yield key


def _target(key: str, node: Mapping[str, Any], chosen: Mapping[str, Any] = MappingProxyType({})) -> Choice:
    """A node as the class that it names; `chosen` tells which option of the group it is, a list's nodes stand under
    their names.
    """
    group, _, name = key.partition(".")
    if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
        raise ComposerError(key, node, f"choose an option by its name: `compose list {group}` shows them")
    path, keywords = node["_target_"], MappingProxyType({k: v for k, v in node.items() if not _reserved(k)})
    return Choice(
        path=path, keywords=keywords, group=group, name=name or str(chosen.get(group) or option_of(group, path) or "")
    )


def _told(node: Any) -> Any:
    """A copy for the record, without what only option files say: whose class an option is."""
    if isinstance(node, Mapping):
        return {key: _told(value) for key, value in node.items() if not _reserved(key)}
    return [_told(value) for value in node] if isinstance(node, (list, tuple)) else node


def _options(group: str, nodes: Mapping[str, Any]) -> Mapping[str, Choice]:
    """What a list group holds, by the names of its options."""
    return MappingProxyType({name: _target(f"{group}.{name}", node) for name, node in nodes.items()})


def on_error(name: str, node: Any) -> Literal["fail", "skip"]:
    """Take `on_error` out of a callback's node: fail or skip."""
    value = node.pop("on_error", "fail") if isinstance(node, dict) else "fail"
    return require(f"callbacks.{name}.on_error", value, Literal["fail", "skip"])


def _reserved(key: str) -> bool:
    return key.startswith("_") and key.endswith("_")


def _model(node: dict[str, Any], task: Choice) -> tuple[ModelSpec, dict[str, Any]]:
    """The checkpoint for this task, and the steps and guidance it likes."""
    defaults, variants = (mapping(f"model.{name}", node.pop(name, None)) for name in ("recommended", "variants"))
    # a task option of the user's own needs the weights of composer's option with the same class
    name = task.name if task.name in variants else option_of("task", task.path) or task.name
    variant, where = mapping(f"model.variants.{name}", variants.get(name)), f"model.variants.{name}.components"
    # what the user swaps comes before the variant's
    chosen = {**mapping(where, variant.get("components")), **mapping("model.components", node.get("components"))}
    node.update({key: value for key, value in variant.items() if key in _CHECKPOINT}, components=chosen)
    defaults.update({key: value for key, value in variant.items() if key not in _CHECKPOINT})
    known("model", node, [field.name for field in fields(ModelSpec)])
    known("model.recommended", defaults, ("steps", "guidance"))
    if not isinstance(node.get("source"), str) or not node["source"]:
        raise ComposerError("model.source", node.get("source"), "a folder, a hub id or a .safetensors file is needed")
    if not isinstance(node["name"], str):
        raise ComposerError("model.name", node["name"], "must be text: what messages call this model")
    node["sha256"] = _sums(node.get("sha256"))
    node["components"] = {name: part for name, part in chosen.items() if part is not None}
    node["refiner"] = _refiner(node.get("refiner"))
    return build_spec("model", ModelSpec, node), defaults


def _sums(node: Any) -> Mapping[str, str]:
    """One SHA-256 for a single file, or one for each of some files of a folder."""
    sums = {} if node is None else node if isinstance(node, Mapping) else {"": node}
    for name, value in sums.items():
        if not re.fullmatch(r"[0-9a-fA-F]{64}", str(value)):
            raise ComposerError(
                "model.sha256", value, f"must be 64 hexadecimal digits{f', of the file {name}' if name else ''}"
            )
    return {name: str(value) for name, value in sums.items()}


def _refiner(node: Any) -> RefinerSpec | None:
    """Where a refiner comes from, or that and more."""
    if node is None:
        return None
    given = node if isinstance(node, Mapping) else {"source": node}
    known("model.refiner", given, [field.name for field in fields(RefinerSpec)])
    if not isinstance(given.get("source"), str) or not given["source"]:
        raise ComposerError("model.refiner", node, "a folder, a hub id, or {source: …, start: 0.8} is needed")
    return build_spec("model.refiner", RefinerSpec, given)


def _scheduler(node: dict[str, Any], chosen: Mapping[str, Any]) -> SchedulerSpec:
    keywords = MappingProxyType({k: v for k, v in node.items() if not _reserved(k)})
    target = (
        replace(_target("scheduler", node, chosen), keywords=MappingProxyType({})) if node.get("_target_") else None
    )
    kind = node.get("_kind_")
    if kind is not None:
        require("scheduler._kind_", kind, Literal["diffusion", "flow", "edm"])
    return SchedulerSpec(target=target, kind=kind, keywords=keywords, name=str(chosen.get("scheduler") or "default"))


def _guidance(node: dict[str, Any], liked: float | None, chosen: Mapping[str, Any]) -> Choice:
    if node.get("scale", 0) is None:
        node["scale"] = liked  # None where only the checkpoint can tell
    return _target("guidance", node, chosen)


def _precision(node: dict[str, Any]) -> PrecisionSpec:
    """Keys that are no setting are components with a precision of their own."""
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


def _settled(values: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """With the steps that the model likes; None where only its checkpoint can tell, see `recommend`."""
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
    known(key, node, list(signature(spec).parameters))
    check_arguments(key, spec, node)
    return spec(**node)


def known(key: str, node: Mapping[str, Any], allowed: Sequence[str]) -> None:
    """Refuse names in a node that no schema knows."""
    for name in node:
        if name not in allowed:
            raise ComposerError(f"{key}.{name}", node[name], f"there is no such key.{suggest(name, allowed)}", allowed)


def _nothing_left(key: str, node: Mapping[str, Any]) -> None:
    known(key, node, ())
