"""The node ``lora``: small changes to layers of the models."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from composer.config.adapter_nodes import CONTROL, LORA, read_specs
from composer.config.spec import LoraSpec
from composer.errors import ComposerError
from composer.system.constraints import check_arguments


def key_of(name: str) -> str:
    """Return the config key of a LoRA.

    Args:
        name: Its name; empty for the one at the node itself. That of a control LoRA is its key.
    """
    return name.rstrip(".") if is_control(name) else LORA.key_of(name)


def is_control(name: str) -> bool:
    """Whether a name is that of a control LoRA among the LoRA of a run; others have no dot.

    Args:
        name: Name of a LoRA.
    """
    return name.startswith(f"{CONTROL.root}.")


def control_name(name: str) -> str:
    """Return the name that a control LoRA has among the LoRA of a run.

    Args:
        name: Name of the control model; empty for the one at the node itself.
    """
    return f"{CONTROL.root}.{name}"


def read_loras(node: Mapping[str, Any]) -> Mapping[str, LoraSpec]:
    """Read the LoRA of a run; one whose file is null is none.

    Args:
        node: The node ``lora`` as plain data.

    Returns:
        LoRA by name, in their order; the name of the one at the node itself is empty.

    Raises:
        ComposerError: A key is unknown, a value is of a wrong type, or a setting belongs to no file.
    """
    return read_specs(LORA, node, _spec)


def _spec(key: str, entry: dict[str, Any]) -> LoraSpec | None:
    scale: Any = entry.get("scale", 1.0)
    scales = dict(entry.get("scales") or {})
    if isinstance(scale, Mapping):  # from Python or a file, by component
        scales = {**scale, **scales}
        scale = 1.0
    settings = {name: value for name, value in entry.items() if name in ("file", "revision", "start", "end", "method")}
    settings |= {"scale": scale, "scales": MappingProxyType(scales)}
    check_arguments(key, LoraSpec, settings if settings["file"] is not None else {**settings, "file": "-"})
    for component, value in scales.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ComposerError(f"{key}.scale.{component}", value, "must be a number")
    if settings["file"] is None:
        return None
    spec = LoraSpec(**settings)
    if not spec.file:
        raise ComposerError(key, None, f"names no file: {key}=FILE.safetensors, or {key}=null for none")
    if spec.start >= spec.end:
        raise ComposerError(f"{key}.start", spec.start, f"must be less than {key}.end, which is {spec.end}")
    return spec
