"""Values as plain data whose `repr` is complete and always the same, by which results of checks are found again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

#: Directory of composer, whose files have other paths on each machine.
PACKAGE = Path(__file__).parents[1]


class NotPlain(Exception):
    """A value that can't be written as plain data."""


def plain(value: Any) -> Any:
    """Write a value as plain data.

    Args:
        value: Data, dataclasses, paths, classes, or images, of which mode and size count.

    Returns:
        Lists and scalars; paths inside composer are relative to it.

    Raises:
        NotPlain: It is something else.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return value.relative_to(PACKAGE).as_posix() if value.is_relative_to(PACKAGE) else str(value)
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if is_dataclass(value):
        return [type(value).__qualname__, plain_fields(value)]
    if isinstance(value, Mapping):
        return [(str(key), plain(value[key])) for key in value]
    if isinstance(value, frozenset | set):
        return sorted(map(str, value))
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    if hasattr(value, "mode") and hasattr(value, "size"):  # an image of PIL's
        return ["image", value.mode, list(value.size)]
    raise NotPlain


def plain_fields(value: Any, left_out: Collection[str] = ()) -> list[Any]:
    """Write the fields of a dataclass as plain data.

    Args:
        value: Its instance.
        left_out: Names of fields to leave out.

    Returns:
        Name and value of each field.

    Raises:
        NotPlain: A value can't be written so.
    """
    return [(field.name, plain(getattr(value, field.name))) for field in fields(value) if field.name not in left_out]
