"""The node ``ip_adapter``: images that condition a run beside the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from composer.config.adapter_nodes import IP_ADAPTER, read_specs
from composer.config.spec import IpAdapterSpec
from composer.errors import ComposerError
from composer.system.constraints import check_arguments

#: Settings of one or several files → field of the spec.
_FILES = {"image": "images", "mask": "masks"}
#: Parts that can have a scale of their own: those of a UNet, and the blocks of Flux.
_PARTS = ("down", "mid", "up", "blocks")


def read_ip_adapters(node: Mapping[str, Any]) -> Mapping[str, IpAdapterSpec]:
    """Read the IP-Adapters of a run; one whose file is null is none.

    Args:
        node: The node ``ip_adapter`` as plain data.

    Returns:
        Settings by name, in their order; the name of the one at the node itself is empty.

    Raises:
        ComposerError: A key is unknown, a value is of a wrong type, or an image is missing.
    """
    return read_specs(IP_ADAPTER, node, _spec)


def _spec(key: str, entry: Mapping[str, Any]) -> IpAdapterSpec | None:
    files = {field: _files(f"{key}.{name}", entry.get(name)) for name, field in _FILES.items()}
    settings = {name: value for name, value in entry.items() if name not in (*_FILES, "scales")}
    scale: Any = settings.get("scale", 1.0)
    scales = dict(entry.get("scales") or {})
    if isinstance(scale, Mapping):  # from Python or a file, by block
        scales, settings["scale"] = {**scale, **scales}, 1.0
    settings |= {**files, "scales": MappingProxyType(scales)}
    check_arguments(key, IpAdapterSpec, settings if settings["file"] is not None else {**settings, "file": "-"})
    _check_scales(key, scales)
    if settings["file"] is None:
        return None
    spec = IpAdapterSpec(**settings)
    if not spec.file:
        raise ComposerError(key, None, f"names no file: {key}=FILE.safetensors, or {key}=null for none")
    if not spec.images:
        raise ComposerError(f"{key}.image", None, f"an image is needed: {key}.image=FILE")
    if spec.masks and len(spec.masks) != len(spec.images):
        reason = f"{len(spec.masks)} masks are given for {len(spec.images)} images: one for each"
        raise ComposerError(f"{key}.mask", list(spec.masks), reason)
    return spec


def _files(key: str, value: Any) -> tuple[str, ...]:
    """One file or a list of files."""
    files = () if value is None else (value,) if isinstance(value, str) else value
    if not isinstance(files, (list, tuple)) or not all(isinstance(file, str) and file for file in files):
        raise ComposerError(key, value, "must be a file, or a list of files as in [a.png,b.png]")
    return tuple(files)


def _check_scales(key: str, scales: Mapping[str, Any]) -> None:
    """Refuse scales that are no numbers; which blocks there are is known with the model."""
    for block, value in scales.items():
        if block not in _PARTS:
            raise ComposerError(f"{key}.scale.{block}", value, "there is no such part", _PARTS)
        if block == "blocks" and not isinstance(value, list):
            raise ComposerError(f"{key}.scale.blocks", value, "must be a list with a number for each block")
        for name, scale in value.items() if isinstance(value, Mapping) else [("", value)]:
            values = scale if isinstance(scale, list) and (name or block == "blocks") else [scale]
            if not values or any(isinstance(n, bool) or not isinstance(n, (int, float)) for n in values):
                more = ", or a list of numbers" if name else ""
                raise ComposerError(f"{key}.scale.{block}{name and '.'}{name}", scale, f"must be a number{more}")
