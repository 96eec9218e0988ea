"""Limits on YAML that users bring.

Files that are too long, or whose aliases multiply, are refused before they are loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from composer.errors import ComposerError
from composer.system.text_files import BYTE_ORDER_MARKS, read_text

#: Bytes of a file, and nodes of its content with all aliases followed.
MAX_BYTES, MAX_NODES = 1 << 20, 100_000
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_bounded_yaml(key: str, path: Path) -> str:
    """Read a YAML file of limited size.

    Args:
        key: Config key that names the file, for messages.
        path: The file.

    Returns:
        Its text, not yet parsed.

    Raises:
        ComposerError: It cannot be read, is longer than 1 MiB, or has over 100,000 nodes with aliases followed.
    """
    try:
        text = read_text(path) if path.stat().st_size <= MAX_BYTES else None
    except (OSError, UnicodeError) as error:
        raise ComposerError(
            key, path, f"can't be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}"
        ) from None
    if text is None:
        raise ComposerError(key, path, f"is longer than {MAX_BYTES >> 20} MiB")
    if "*" in text and "&" in text:
        try:
            root = yaml.compose(text, Loader=_LOADER)
        except (yaml.YAMLError, RecursionError):
            return text  # whoever parses it says what is wrong
        if root is not None and _size(root, {}) > MAX_NODES:
            raise ComposerError(key, path, f"comes to more than {MAX_NODES} values when its aliases are followed")
    return text


def refuse_mark(key: str, path: Path) -> None:
    """Refuse an option file with a byte order mark, which Hydra would read as part of the first line.

    Args:
        key: Config key that names the file, for messages.
        path: The file.

    Raises:
        ComposerError: It begins with a byte order mark.
    """
    with path.open("rb") as file:
        head = file.read(3)
    if head.startswith(BYTE_ORDER_MARKS):
        raise ComposerError(
            key,
            path,
            "begins with a byte order mark, behind which its first line is not seen: save it as UTF-8 without one",
        )


def parsed(text: str) -> Any:
    """Parse a YAML text into plain data; tags create no objects.

    Args:
        text: YAML.

    Returns:
        Plain data.

    Raises:
        yaml.YAMLError: It is not valid YAML.
    """
    return _LOADER(text).get_single_data()


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Number of nodes below a node; those of an alias count each time it is used."""
    if id(node) not in known:
        known[id(node)] = MAX_NODES + 1  # whatever holds itself has no end
        inner: list[Any] = [] if isinstance(node, yaml.ScalarNode) else list(node.value)
        flat = [child for one in inner for child in (one if isinstance(one, tuple) else (one,))]
        known[id(node)] = 1 + sum(_size(child, known) for child in flat)
    return known[id(node)]
