"""Nodes of adapters: one file at the node itself, and others under names of their own.

lora=FILE lora.scale=0.8                    one
lora.style=FILE lora.style.scale=0.5        several, each under a name
lora.scale.unet=0.8                         a scale of one part of the models
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from composer.errors import ComposerError, suggest

SpecT = TypeVar("SpecT")
#: Names that an adapter can be given.
_NAME = re.compile(r"[A-Za-z][\w-]*")
#: A hub id, with or without a file in the repository.
_HUB_FILE = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?:/[^/\s]+)*")
_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class AdapterNode:
    """A root key of the config that holds adapters of one kind.

    Attributes:
        root: The key.
        noun: What one of them is called in messages.
        settings: Settings that are typed by their names.
        parts: Setting → key of settings below it, which are typed as ``scale.PART``.
        source: Setting that says where it is, which is typed without its name.
        example: A value of that setting, for messages.
    """

    root: str
    noun: str
    settings: tuple[str, ...]
    parts: Mapping[str, str] = field(default_factory=dict)
    source: str = "file"
    example: str = "FILE.safetensors"

    @property
    def keys(self) -> tuple[str, ...]:
        """Settings as the config holds them."""
        return (*self.settings, *self.parts.values())

    def key_of(self, name: str) -> str:
        """Return the config key of an adapter.

        Args:
            name: Its name; empty for the one at the node itself.
        """
        return f"{self.root}.{name}" if name else self.root


LORA = AdapterNode("lora", "LoRA", ("file", "revision", "scale", "start", "end", "method"), {"scale": "scales"})
EMBEDDING = AdapterNode("embedding", "embedding", ("file", "revision", "word"))
IP_ADAPTER = AdapterNode(
    "ip_adapter", "IP-Adapter", ("file", "revision", "image", "mask", "scale", "encoder"), {"scale": "scales"}
)
CONTROL = AdapterNode(
    "control",
    "control model",
    ("model", "image", "scale", "start", "end", "mode", "preprocess", "revision", "variant"),
    {"preprocess": "preprocess_settings"},
    source="model",
    example="OWNER/NAME",
)
ADAPTERS = {node.root: node for node in (LORA, EMBEDDING, IP_ADAPTER, CONTROL)}
#: Settings of an adapter that decide what is loaded: its scale does not.
LOAD_SETTINGS = ("file", "revision", "method", "word", "model", "variant", "encoder")
#: Settings of adapters that name files or models, also those of a preprocessor.
FILE_SETTINGS = ("file", "model", "image", "mask", "encoder")


def full_key(key: str) -> str:
    """Write out a key of an adapter as the config holds it.

    Args:
        key: As typed: ``lora``, ``lora.NAME``, or a setting of either.

    Returns:
        ``lora`` → ``lora.file``, ``lora.NAME`` → ``lora.NAME.file``, ``lora.scale.unet`` → ``lora.scales.unet``; keys
        of other nodes stay as they are.
    """
    root, *parts = key.split(".")
    if root not in ADAPTERS:
        return key
    node = ADAPTERS[root]
    if not parts or (len(parts) == 1 and parts[0] not in node.keys):
        parts.append(node.source)
    for setting, below in node.parts.items():
        if setting in parts[:2] and parts.index(setting) < len(parts) - 1:
            parts[parts.index(setting)] = below
    return ".".join([root, *parts])


def typed_key(key: str) -> str:
    """Shorten a key of the config to what is typed; keys of other nodes stay as they are.

    Args:
        key: Dotted key, such as ``lora.file``.
    """
    node = ADAPTERS.get(key.partition(".")[0])
    if node is None:
        return key
    parts = key.removesuffix(f".{node.source}").split(".")
    settings = {below: setting for setting, below in node.parts.items()}
    return ".".join(settings.get(part, part) if 0 < i < len(parts) - 1 else part for i, part in enumerate(parts))


def names_source(key: str) -> bool:
    """Test whether a key of the config says where an adapter is.

    Args:
        key: Dotted key, such as ``lora.file``.
    """
    node = ADAPTERS.get(key.partition(".")[0])
    return node is not None and key.endswith(f".{node.source}")


def read_specs(
    adapters: AdapterNode, node: Mapping[str, Any], read: Callable[[str, dict[str, Any]], SpecT | None]
) -> Mapping[str, SpecT]:
    """Read the specifications of all adapters of a node; those without a source are none.

    Args:
        adapters: Kind of the adapters.
        node: The node as plain data.
        read: Reads one from its config key and settings; `None` if its source is null.

    Returns:
        Specifications by name, in their order; the name of the one at the node itself is empty.

    Raises:
        ComposerError: A key is unknown, a value is of a wrong type, or a setting belongs to no file.
    """
    specs = {name: read(adapters.key_of(name), entry) for name, entry in read_entries(adapters, node).items()}
    return MappingProxyType({name: spec for name, spec in specs.items() if spec is not None})


def read_entries(adapters: AdapterNode, node: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Read the settings of all adapters of a node.

    Args:
        adapters: Kind of the adapters.
        node: The node as plain data.

    Returns:
        Settings by name, in their order; the name of the one at the node itself is empty. Each has its source.

    Raises:
        ComposerError: A key is unknown, or a setting belongs to no file.
    """
    entries: dict[str, dict[str, Any]] = {}
    for name, value in node.items():
        if name in adapters.keys:
            entries.setdefault("", {})[name] = value
        else:
            entries[name] = _entry(adapters, name, value)
    for name, entry in entries.items():
        _refuse_unknown(adapters, name, entry)
    return entries


def _entry(adapters: AdapterNode, name: str, value: Any) -> dict[str, Any]:
    """Settings of an adapter of this name; a word that is no file is a misspelt setting."""
    key, noun = adapters.key_of(name), adapters.noun
    entry = dict(value) if isinstance(value, Mapping) else {adapters.source: value}
    file = entry.get(adapters.source)
    if set(entry) == {adapters.source} and file is not None and not _names_file(file):
        example = f"{adapters.root}.NAME={adapters.example}"
        reason = f"is neither a setting of {_article(noun)} nor names a {adapters.source}, {example}"
        raise ComposerError(key, file, f"{reason}.{suggest(name, adapters.settings)}", adapters.settings)
    if not _NAME.fullmatch(name):
        raise ComposerError(key, file, f"names of {noun} have letters, digits, - and _ alone")
    return entry


def _refuse_unknown(adapters: AdapterNode, name: str, entry: Mapping[str, Any]) -> None:
    key = adapters.key_of(name)
    for setting, value in entry.items():
        if setting not in adapters.keys:
            reason = f"there is no such key.{suggest(setting, adapters.settings)}"
            raise ComposerError(f"{key}.{setting}", value, reason, adapters.settings)
    if adapters.source not in entry:
        setting, value = next(iter(entry.items()), (adapters.source, None))
        reason = f"there is no {adapters.noun} that it is of: name its {adapters.source}, {key}={adapters.example}"
        raise ComposerError(f"{key}.{setting}", value, reason)


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiouAEIO" else f"a {noun}"


def _names_file(value: Any) -> bool:
    text = str(value)
    return text.endswith(_SUFFIXES) or "/" in text or "\\" in text or text.startswith("~") or Path(text).exists()


def is_hub_file(file: str) -> bool:
    """Test whether a text may name a repository at the hub, or a file in one.

    Args:
        file: File of an adapter that names no file here.
    """
    return _HUB_FILE.fullmatch(file) is not None
