"""YAML that users bring: a file that grows beyond all bounds when its aliases are followed is refused before anything
follows them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from composer.errors import ComposerError
from composer.system.text_files import BYTE_ORDER_MARKS, read_text

#: Bytes of a file, and nodes that it may come to.
LONGEST, MOST = 1 << 20, 100_000
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_bounded_yaml(key: str, path: Path) -> str:
    """A file's text, if it is of a decent size.

    Raises:
        ComposerError: it can't be read, is too long, or its aliases multiply.
    """
    try:
        text = read_text(path) if path.stat().st_size <= LONGEST else None
    except (OSError, UnicodeError) as error:
        raise ComposerError(
            key, path, f"can't be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}"
        ) from None
    if text is None:
        raise ComposerError(key, path, f"is longer than {LONGEST >> 20} MiB")
    if "*" in text and "&" in text:
        try:
            root = yaml.compose(text, Loader=_LOADER)
        except (yaml.YAMLError, RecursionError):
            return text  # whoever parses it says what is wrong
        if root is not None and _size(root, {}) > MOST:
            raise ComposerError(key, path, f"comes to more than {MOST} values when its aliases are followed")
    return text


def refuse_mark(key: str, path: Path) -> None:
    """Refuse an option file that begins with a byte order mark: Hydra reads it itself, and takes the mark for a part of
    its first line.

    Raises:
        ComposerError: it does.
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
    """Plain data of a YAML text; no tag makes an object of it.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    return _LOADER(text).get_single_data()


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Nodes below one, those of an alias as often as it is named."""
    if id(node) not in known:
        known[id(node)] = MOST + 1  # whatever holds itself has no end
        inner: list[Any] = [] if isinstance(node, yaml.ScalarNode) else list(node.value)
        flat = [each for one in inner for each in (one if isinstance(one, tuple) else (one,))]
        known[id(node)] = 1 + sum(_size(each, known) for each in flat)
    return known[id(node)]
