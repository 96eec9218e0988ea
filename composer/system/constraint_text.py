"""Annotations in words, as error messages say them: `Annotated[int, Ge(1)] | None` → `an integer, 1 or more, or
null`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

#: What `annotated_types.GroupedMetadata` is known by; `isinstance` takes many times as long with a protocol.
_GROUPED = "__is_annotated_types_grouped_metadata__"

#: Type → one value, several.
_WORDS = {
    bool: ("true or false", "truth values"), int: ("an integer", "integers"), float: ("a number", "numbers"),
    str: ("text", "texts"),
}  # fmt: skip


def describe(hint: Any) -> str:
    """Put an annotation into words.

    Args:
        hint: An annotation that `composer.system.constraints.fits` checks.

    Returns:
        Text that follows "must be", such as `an integer, 1 or more, or null`.
    """
    return _joined(phrases(hint))


def phrases(hint: Any) -> list[str]:
    """Put each alternative of an annotation into words.

    Args:
        hint: An annotation. Each value of a `Literal`, and `True` and `False` of `bool`, are alternatives.

    Returns:
        The alternatives, `null` last, without duplicates.
    """
    return list(dict.fromkeys(text for option in alternatives(hint) for text in _texts(option)))


def alternatives(hint: Any) -> list[Any]:
    """Split a union into its members.

    Args:
        hint: An annotation; nested unions are split too.

    Returns:
        The members, `None` last. The annotation alone where it is no union.
    """
    if get_origin(hint) not in (Union, UnionType):
        return [NoneType if hint is None else hint]
    members = [member for option in get_args(hint) for member in alternatives(option)]
    return sorted(members, key=lambda member: member is NoneType)


def flatten(metadata: Sequence[Any]) -> list[Any]:
    """Split grouped constraints.

    Args:
        metadata: Arguments of `Annotated` after the type.

    Returns:
        The same, with `Ge`, `Gt`, … instead of `Interval` and `Len`.
    """
    return [constraint for item in metadata for constraint in (item if getattr(item, _GROUPED, False) else [item])]


def _texts(hint: Any) -> Iterator[str]:
    """A member of a union, each value of a `Literal` apart."""
    if hint is NoneType:
        yield "null"
    elif hint is bool:
        yield from ("true", "false")
    elif get_origin(hint) is Literal:
        yield from (str(value).lower() if isinstance(value, bool) else str(value) for value in get_args(hint))
    else:
        yield _phrase(hint, single=True)


def _phrase(hint: Any, single: bool) -> str:
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind is Annotated:
        return _constrained(arguments[0], _limits(arguments[1:]), single)
    if kind in (list, tuple, Sequence):
        return _list_of(arguments) if single else "lists"
    if kind in (dict, Mapping):
        return "values by name"
    if kind in _WORDS:
        return _WORDS[kind][0 if single else 1]
    if kind in (Union, UnionType, Literal):
        return describe(hint) if single else f"values, each {describe(hint)}"
    return "a value" if single else "values"


def _list_of(items: Sequence[Any]) -> str:
    count = f"{len(items)} " if items and items[-1] is not Ellipsis and len(items) > 1 else ""
    return f"a list of {count}{_phrase(items[0], single=False)}" if items else "a list"


def _constrained(hint: Any, limits: Mapping[str, Any], single: bool) -> str:
    text = _phrase(hint, single)
    if limits.get("min_length"):
        count = _count(limits["min_length"], limits.get("max_length"))
        text = f"non-empty {text}" if hint is str else f"{text}, {count} of them" if single else f"{text} of {count}"
    bounds = _bounds(limits)
    if not bounds or single:
        return text + bounds
    return f"{text}, each{bounds.removeprefix(',')}"


def _count(least: int, most: int | None) -> str:
    """`1 or more`, `1 to 8`, `4`."""
    return f"{least} or more" if most is None else str(least) if most == least else f"{least} to {most}"


def _bounds(limits: Mapping[str, Any]) -> str:
    """`, 1 or more`, ` from 0 to 1`, ` above 0 and at most 1`, …"""
    texts = {name: text.format(_number(limits[name])) for name, text in _BOUNDS.items() if limits.get(name) is not None}
    if {"ge", "le"} <= set(texts):
        span = f" from {_number(limits['ge'])} to {_number(limits['le'])}"
    elif set(texts) - {"multiple_of"} == {"ge"}:
        span = f", {_number(limits['ge'])} or more"
    else:
        span = f" {' and '.join(texts[name] for name in texts if name != 'multiple_of')}".rstrip()
    return span + (f", {texts['multiple_of']}" if "multiple_of" in texts else "")


#: Constraint → the words of its bound.
_BOUNDS = {
    "gt": "above {}",
    "ge": "at least {}",
    "lt": "below {}",
    "le": "at most {}",
    "multiple_of": "a multiple of {}",
}


def _limits(metadata: Sequence[Any]) -> dict[str, Any]:
    """Constraints by name."""
    names = (*_BOUNDS, "min_length", "max_length")
    return {name: getattr(item, name) for item in flatten(metadata) for name in names if hasattr(item, name)}


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _joined(texts: Sequence[str]) -> str:
    """With a comma before `or` where an alternative has one itself."""
    if len(texts) < 2:
        return "".join(texts)
    comma = "," if any("," in text for text in texts) else ""
    return f"{', '.join(texts[:-1])}{comma} or {texts[-1]}"
