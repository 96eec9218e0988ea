"""Nodes of adapters: one file at the node itself, and others under names of their own.

lora=FILE lora.scale=0.8                    one
lora.style=FILE lora.style.scale=0.5        several, each under a name
lora.scale.unet=0.8                         a scale of one part of the models
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from composer.errors import ComposerError, suggest

#: Key of the scales of parts of the models, which are typed as `scale.PART`.
SCALES = "scales"
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
        scaled: Whether parts of the models can have a scale of their own.
    """

    root: str
    noun: str
    settings: tuple[str, ...]
    scaled: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """Settings as the config holds them."""
        return (*self.settings, *[SCALES] * self.scaled)

    def key_of(self, name: str) -> str:
        """Return the config key of an adapter.

        Args:
            name: Its name; empty for the one at the node itself.
        """
        return f"{self.root}.{name}" if name else self.root


LORA = AdapterNode("lora", "LoRA", ("file", "revision", "scale", "start", "end", "method"), scaled=True)
EMBEDDING = AdapterNode("embedding", "embedding", ("file", "revision", "word"))
ADAPTERS = {node.root: node for node in (LORA, EMBEDDING)}
#: Settings of an adapter that decide what is loaded: its scale does not.
LOAD_SETTINGS = ("file", "revision", "method", "word")


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
        parts.append("file")
    elif node.scaled and "scale" in parts[:2] and parts.index("scale") < len(parts) - 1:
        parts[parts.index("scale")] = SCALES
    return ".".join([root, *parts])


def typed_key(key: str) -> str:
    """Shorten a key of the config to what is typed; keys of other nodes stay as they are.

    Args:
        key: Dotted key, such as ``lora.file``.
    """
    if key.partition(".")[0] not in ADAPTERS:
        return key
    parts = key.removesuffix(".file").split(".")
    return ".".join("scale" if part == SCALES and 0 < i < len(parts) - 1 else part for i, part in enumerate(parts))


def read_entries(adapters: AdapterNode, node: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Read the settings of all adapters of a node.

    Args:
        adapters: Kind of the adapters.
        node: The node as plain data.

    Returns:
        Settings by name, in their order; the name of the one at the node itself is empty. Each has a ``file``.

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
    entry = dict(value) if isinstance(value, Mapping) else {"file": value}
    file = entry.get("file")
    if set(entry) == {"file"} and file is not None and not _names_file(file):
        reason = f"is neither a setting of {_article(noun)} nor names a file, {adapters.root}.NAME=FILE.safetensors"
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
    if "file" not in entry:
        setting, value = next(iter(entry.items()))
        reason = f"there is no {adapters.noun} that it is of: name its file, {key}=FILE"
        raise ComposerError(f"{key}.{setting}", value, reason)


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiouAEIO" else f"a {noun}"


def _names_file(value: Any) -> bool:
    text = str(value)
    return text.endswith(_SUFFIXES) or "/" in text or "\\" in text or text.startswith("~")


def is_hub_file(file: str) -> bool:
    """Test whether a text may name a repository at the hub, or a file in one.

    Args:
        file: File of an adapter that names no file here.
    """
    return _HUB_FILE.fullmatch(file) is not None
