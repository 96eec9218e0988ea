"""Keys of an option file with the comments behind them, which describe the keys to users."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Setting:
    """A key of an option file.

    Attributes:
        key: Dotted key below the file's root.
        default: Value as it is written in the file.
        comment: Text behind the value; empty if there is none.
    """

    key: str
    default: str
    comment: str


def settings_of(path: Path) -> list[Setting]:
    """Read the settings of an option file.

    Args:
        path: The file.

    Returns:
        Its settings in their order, without names that begin with `_`, the defaults list and Hydra's node.
    """
    text = path.read_text("utf-8")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return list(_leaves(root, text.splitlines(), text, "")) if isinstance(root, yaml.MappingNode) else []


def _leaves(node: yaml.MappingNode, lines: list[str], text: str, above: str) -> Iterator[Setting]:
    for name, value in node.value:
        key = f"{above}{name.value}"
        if name.value.startswith("_") or (not above and name.value in ("defaults", "hydra")):
            continue
        if isinstance(value, yaml.MappingNode) and not value.flow_style:
            yield from _leaves(value, lines, text, f"{key}.")
            continue
        line = lines[value.end_mark.line] if value.end_mark.line < len(lines) else ""
        comment = re.match(r"\s+#\s*(.*)", line[value.end_mark.column :])
        default = text[value.start_mark.index : value.end_mark.index].strip()
        yield Setting(key, default, comment[1] if comment else "")
