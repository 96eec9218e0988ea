"""Checks values against type annotations such as `Annotated[int, Ge(1)]`, for the options of composer and of plugins.

The constraints are those of the package annotated-types, which pydantic and hypothesis read too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from types import MappingProxyType, NoneType, SimpleNamespace, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Interval, Le, Len, Lt, MaxLen, MinLen, MultipleOf, Predicate

from composer.errors import ComposerError, suggest
from composer.system.constraint_text import alternatives, describe, flatten, phrases

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "Fraction", "Ge", "Gt", "Interval", "Le", "Len", "Lt", "MaxLen", "MinLen", "MultipleOf", "NonFinite", "Predicate",
    "Validated", "check_arguments", "fits", "require",
]  # fmt: skip


@dataclass(frozen=True)
class NonFinite:
    """Metadata of a float that may be NaN or infinite: `Annotated[float, NonFinite()]`."""


#: A number in [0, 1].
Fraction = Annotated[float, Interval(ge=0, le=1)]


class Validated:
    """Base of classes whose constructors check their arguments against their own annotations.

    The check runs before `__init__`, also in subclasses. Parameters without an annotation, or with one that names no
    plain data, are left to the class.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Check the arguments and create the object.

        Raises:
            ComposerError: An argument does not match the annotation of its parameter.
            TypeError: There are arguments, and the class takes none.
        """
        if args or kwargs:
            if _constructor(cls) is object.__init__:
                raise TypeError(f"{cls.__name__} takes no arguments")
            check_arguments(cls.config_key(), cls, _by_name(cls, args, kwargs))
        return super().__new__(cls)

    @classmethod
    def config_key(cls) -> str:
        """Return the config key of objects of this class, for messages.

        Returns:
            A dotted key such as `callbacks.preview`. The name of the class where a subclass sets no other.
        """
        return cls.__name__


def check_arguments(key: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Refuse the first argument that does not match the annotation of its parameter.

    Args:
        key: Config key of the object that is created, such as `callbacks.preview`.
        function: A class, or a function.
        arguments: Parameter name to value. Names that the function does not have are ignored.

    Raises:
        ComposerError: An argument does not match. Its key is `key` and the name of the parameter.
    """
    hints = _hints(_constructor(function) if isinstance(function, type) else function)
    for name, value in arguments.items():
        if name in hints:
            require(f"{key}.{name}", value, hints[name])


def require(key: str, value: Any, hint: Any) -> Any:
    """Refuse a value that does not match an annotation.

    Args:
        key: Config key of the value, for the message.
        value: Any value.
        hint: An annotation, see `fits`.

    Returns:
        The value.

    Raises:
        ComposerError: The value does not match. The message says what would.
    """
    if fits(value, hint):
        return value
    if all(get_origin(option) is Literal or option is NoneType for option in alternatives(hint)):
        allowed = phrases(hint)
        near = suggest(str(value), allowed)
        raise ComposerError(key, value, f"is not known.{near}" if near else "is not known", allowed)
    raise ComposerError(key, value, f"must be {describe(hint)}")


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value matches an annotation.

    A `bool` is no `int`, an `int` is a `float`, and a `float` is no `int`, not even `2.0`. NaN and infinity match only
    floats that are annotated with `NonFinite`. Any sequence but text matches `list`, `tuple` and `Sequence`.

    Args:
        value: Any value.
        hint: `bool`, `int`, `float`, `str`, `None`, `Literal`, and unions, lists, tuples, mappings and `Annotated` of
            these. Everything else matches any value.

    Returns:
        Whether it matches.
    """
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind is Annotated:
        return _fits_annotated(value, arguments[0], flatten(arguments[1:]))
    if kind in (Union, UnionType):
        return any(fits(value, option) for option in arguments)
    if kind is Literal:
        return any(_same(value, option) for option in arguments)
    if kind in _PLAIN:
        return _PLAIN[kind](value)
    if kind in (list, tuple, Sequence):
        return _fits_sequence(value, kind, arguments)
    if kind in (dict, Mapping):
        return isinstance(value, Mapping) and _all_fit(value, arguments[:1]) and _all_fit(value.values(), arguments[1:])
    return True


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_integer(value) or isinstance(value, float)


#: Type → test of a value.
_PLAIN: Mapping[Any, Callable[[Any], bool]] = MappingProxyType({
    bool: lambda value: isinstance(value, bool),
    int: _is_integer,
    float: lambda value: _is_integer(value) or (isinstance(value, float) and isfinite(value)),
    str: lambda value: isinstance(value, str),
    None: lambda value: value is None,
    NoneType: lambda value: value is None,
})  # fmt: skip
#: Constraint → test of a value that has the right type.
_CONSTRAINTS: Mapping[type, Callable[[Any, Any], bool]] = MappingProxyType({
    Ge: lambda value, constraint: value >= constraint.ge,
    Gt: lambda value, constraint: value > constraint.gt,
    Le: lambda value, constraint: value <= constraint.le,
    Lt: lambda value, constraint: value < constraint.lt,
    MultipleOf: lambda value, constraint: value % constraint.multiple_of == 0,
    MinLen: lambda value, constraint: len(value) >= constraint.min_length,
    MaxLen: lambda value, constraint: len(value) <= constraint.max_length,
    Predicate: lambda value, constraint: bool(constraint.func(value)),
})  # fmt: skip


def _fits_annotated(value: Any, hint: Any, constraints: Sequence[Any]) -> bool:
    unbounded = hint is float and any(isinstance(constraint, NonFinite) for constraint in constraints)
    if not (_is_number(value) if unbounded else fits(value, hint)):
        return False
    return value is None or all(_satisfies(value, constraint) for constraint in constraints)


def _satisfies(value: Any, constraint: Any) -> bool:
    test = _CONSTRAINTS.get(type(constraint))
    try:
        return test is None or test(value, constraint)
    except TypeError:  # a value that has no order or no length
        return False


def _fits_sequence(value: Any, kind: Any, items: Sequence[Any]) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        return False
    if kind is tuple and items and items[-1] is not Ellipsis:
        return len(value) == len(items) and all(map(fits, value, items))
    return _all_fit(value, items[:1])


def _all_fit(values: Iterable[Any], hints: Sequence[Any]) -> bool:
    return not hints or all(fits(value, hints[0]) for value in values)


def _same(value: Any, option: Any) -> bool:
    """Like `==`, but 1 is not `True`."""
    return isinstance(value, type(option)) and isinstance(value, bool) == isinstance(option, bool) and value == option


def _constructor(cls: type) -> Callable[..., Any]:
    constructor: Callable[..., Any] = cls.__init__  # type: ignore[misc]  # of the class, not of an object
    return constructor


def _by_name(cls: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Arguments by parameter; nothing where they do not bind, which `__init__` reports itself."""
    try:
        return _signature(_constructor(cls)).bind_partial(None, *args, **kwargs).arguments
    except TypeError:
        return {}


@lru_cache(maxsize=1024)
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


@lru_cache(maxsize=1024)
def _hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Parameter → annotation; without those that name what only type checkers import, and without `*args`,
    `**kwargs`.
    """
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    left_out = {name for name, parameter in _signature(function).parameters.items() if parameter.kind in variadic} | {
        "return"
    }
    return MappingProxyType({name: hint for name, hint in _resolved(function).items() if name not in left_out})


def _resolved(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError):  # some annotation can't be resolved: one by one
        pass
    hints: dict[str, Any] = {}
    namespace = getattr(inspect.unwrap(function), "__globals__", {})
    for name, annotation in getattr(function, "__annotations__", {}).items():
        try:
            one = SimpleNamespace(__annotations__={name: annotation})
            hints |= get_type_hints(one, namespace, include_extras=True)
        except (NameError, TypeError, AttributeError):
            continue
    return hints
