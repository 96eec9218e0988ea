"""Annotations such as `Annotated[int, Ge(1)]` as JSON Schema, for the values that `composer.system.constraints`
checks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen, MultipleOf

from composer.system.constraint_text import alternatives, flatten

#: A JSON Schema. https://json-schema.org/draft/2020-12
Schema = dict[str, Any]

#: Type → its name in JSON Schema.
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", None: "null", NoneType: "null"}
#: Constraint → keyword of a number.
_BOUNDS: Mapping[type, Callable[[Any], Schema]] = MappingProxyType({
    Ge: lambda constraint: {"minimum": constraint.ge},
    Gt: lambda constraint: {"exclusiveMinimum": constraint.gt},
    Le: lambda constraint: {"maximum": constraint.le},
    Lt: lambda constraint: {"exclusiveMaximum": constraint.lt},
    MultipleOf: lambda constraint: {"multipleOf": constraint.multiple_of},
})  # fmt: skip


def schema_of(hint: Any) -> Schema:
    """Convert an annotation.

    Args:
        hint: An annotation, see `composer.system.constraints.fits`.

    Returns:
        A schema that accepts what `fits` accepts, as far as JSON distinguishes it: an integer is also a number, and
        `2.0` an integer. Empty, which accepts everything, for what is no plain data.
    """
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind is Annotated:
        return _constrained(schema_of(arguments[0]), flatten(arguments[1:]))
    if kind in (Union, UnionType):
        return any_of([schema_of(option) for option in alternatives(hint)])
    if kind is Literal:
        return {"enum": list(arguments)}
    if kind in _TYPES:
        return {"type": _TYPES[kind]}
    if kind in (list, tuple, Sequence):
        return _array(kind, arguments)
    if kind in (dict, Mapping):
        values = schema_of(arguments[1]) if len(arguments) > 1 else {}
        return {"type": "object", **({"additionalProperties": values} if values else {})}
    return {}


def any_of(options: Sequence[Schema]) -> Schema:
    """Join alternatives.

    Args:
        options: Schemas, one at least.

    Returns:
        A schema that accepts what one of them accepts: itself if there is one, and empty if one accepts everything.
    """
    flat = [member for option in options for member in (option["anyOf"] if option.keys() == {"anyOf"} else [option])]
    distinct = [option for index, option in enumerate(flat) if option not in flat[:index]]
    if {} in distinct:
        return {}
    return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}


def _constrained(schema: Schema, constraints: Sequence[Any]) -> Schema:
    """Add the keywords of constraints; those of a function are left to composer itself."""
    suffix = {"string": "Length", "array": "Items", "object": "Properties"}.get(schema.get("type", ""))
    for constraint in constraints:
        if type(constraint) in _BOUNDS:
            schema = schema | _BOUNDS[type(constraint)](constraint)
        elif isinstance(constraint, MinLen) and suffix:
            schema = schema | {f"min{suffix}": constraint.min_length}
        elif isinstance(constraint, MaxLen) and suffix:
            schema = schema | {f"max{suffix}": constraint.max_length}
    return schema


def _array(kind: Any, items: Sequence[Any]) -> Schema:
    if kind is tuple and items and items[-1] is not Ellipsis:
        prefix = [schema_of(item) for item in items]
        return {"type": "array", "prefixItems": prefix, "minItems": len(prefix), "maxItems": len(prefix)}
    of_all = schema_of(items[0]) if items else {}
    return {"type": "array", **({"items": of_all} if of_all else {})}
