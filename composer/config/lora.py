"""The node ``lora``: one LoRA at the node itself, and others under names of their own.

lora=FILE lora.scale=0.8                    one
lora.style=FILE lora.style.scale=0.5        several, each under a name
lora.scale.unet=0.8                         a scale of one component
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from composer.config.spec import LoraSpec
from composer.errors import ComposerError, suggest
from composer.system.constraints import check_arguments

#: Settings of one LoRA that are typed by their names.
SETTINGS = ("file", "revision", "scale", "start", "end", "method")
#: Key of the scales of components, which are typed as `scale.COMPONENT`.
SCALES = "scales"
#: Names that a LoRA can be given.
_NAME = re.compile(r"[A-Za-z][\w-]*")
#: A hub id, with or without a file in the repository.
_HUB_FILE = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?:/[^/\s]+)*")


def full_key(key: str) -> str:
    """Write out a key of the node as the config holds it.

    Args:
        key: As typed: ``lora``, ``lora.NAME``, or a setting of either.

    Returns:
        ``lora`` → ``lora.file``, ``lora.NAME`` → ``lora.NAME.file``, ``lora.scale.unet`` → ``lora.scales.unet``.
    """
    root, *parts = key.split(".")
    if not parts or (len(parts) == 1 and parts[0] not in (*SETTINGS, SCALES)):
        parts.append("file")
    elif len(parts) > 1 and parts[-2] == "scale":
        parts[-2] = SCALES
    return ".".join([root, *parts])


def typed_key(key: str) -> str:
    """Shorten a key of the config to what is typed; keys of other nodes stay as they are.

    Args:
        key: Dotted key, such as ``lora.file``.
    """
    if key.partition(".")[0] != "lora":
        return key
    parts = key.removesuffix(".file").split(".")
    return ".".join("scale" if part == SCALES and 0 < i < len(parts) - 1 else part for i, part in enumerate(parts))


def read_loras(node: Mapping[str, Any]) -> Mapping[str, LoraSpec]:
    """Read the LoRA of a run; one whose file is null is none.

    Args:
        node: The node ``lora`` as plain data.

    Returns:
        LoRA by name, in their order; the name of the one at the node itself is empty.

    Raises:
        ComposerError: A key is unknown, a value is of a wrong type, or a setting belongs to no file.
    """
    entries: dict[str, dict[str, Any]] = {}
    for name, value in node.items():
        if name in (*SETTINGS, SCALES):
            entries.setdefault("", {})[name] = value
        else:
            entries[name] = _entry(name, value)
    specs = {name: _spec(key_of(name), entry) for name, entry in entries.items()}
    return MappingProxyType({name: spec for name, spec in specs.items() if spec is not None})


def key_of(name: str) -> str:
    """Return the config key of a LoRA.

    Args:
        name: Its name; empty for the one at the node itself.
    """
    return f"lora.{name}" if name else "lora"


def _entry(name: str, value: Any) -> dict[str, Any]:
    """Settings of a LoRA of this name; a word that is no file is a misspelt setting."""
    entry = dict(value) if isinstance(value, Mapping) else {"file": value}
    file = entry.get("file")
    if set(entry) == {"file"} and file is not None and not _names_file(file):
        reason = "is neither a setting of a LoRA nor names a file, lora.NAME=FILE.safetensors"
        raise ComposerError(f"lora.{name}", file, f"{reason}.{suggest(name, SETTINGS)}", SETTINGS)
    if not _NAME.fullmatch(name):
        raise ComposerError(f"lora.{name}", file, "names of LoRA have letters, digits, - and _ alone")
    return entry


def _names_file(value: Any) -> bool:
    text = str(value)
    return (
        text.endswith((".safetensors", ".ckpt", ".pt", ".pth", ".bin"))
        or "/" in text
        or "\\" in text
        or text.startswith("~")
    )


def _spec(key: str, entry: dict[str, Any]) -> LoraSpec | None:
    for name in entry:
        if name not in (*SETTINGS, SCALES):
            reason = f"there is no such key.{suggest(name, SETTINGS)}"
            raise ComposerError(f"{key}.{name}", entry[name], reason, SETTINGS)
    if "file" not in entry:
        name, value = next(iter(entry.items()))
        raise ComposerError(f"{key}.{name}", value, f"there is no LoRA that it is of: name its file, {key}=FILE")
    scale: Any = entry.get("scale", 1.0)
    scales = dict(entry.get(SCALES) or {})
    if isinstance(scale, Mapping):  # from Python or a file, by component
        scales = {**scale, **scales}
        scale = 1.0
    settings = {name: value for name, value in entry.items() if name in ("file", "revision", "start", "end", "method")}
    settings |= {"scale": scale, SCALES: MappingProxyType(scales)}
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


def is_hub_file(file: str) -> bool:
    """Test whether a text may name a repository at the hub, or a file in one.

    Args:
        file: Value of ``lora=…`` that names no file here.
    """
    return _HUB_FILE.fullmatch(file) is not None
