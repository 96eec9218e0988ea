"""Which setting a scheduler's class refuses, whatever it raises, and which values of it work."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal, Optional

from composer.errors import ComposerError
from composer.system.constraints import require

#: Values of settings that are words, anywhere in diffusers; whether a class takes one is tried.
WORDS = {
    "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "exponential"),
    "prediction_type": ("epsilon", "sample", "v_prediction", "flow_prediction"),
    "timestep_spacing": ("linspace", "leading", "trailing"),
    "timestep_type": ("discrete", "continuous"),
    "algorithm_type": ("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++", "deis"),
    "solver_type": ("midpoint", "heun", "bh1", "bh2", "logrho"),
    "final_sigmas_type": ("zero", "sigma_min"),
    "interpolation_type": ("linear", "log_linear"),
    "sigma_schedule": ("karras", "exponential"),
    "time_shift_type": ("exponential", "linear"),
    "variance_type": ("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned", "learned_range"),
}

#: Names of types in a class's annotation → what a value must match.
_HINTS: Mapping[frozenset[str], Any] = {
    frozenset({"bool"}): bool | None,
    frozenset({"int"}): int | None,
    frozenset({"float"}): float | None,
    frozenset({"int", "float"}): float | None,
}


def constructor(cls: type) -> Callable[..., None]:
    """Get the constructor of a class, for its signature.

    Args:
        cls: Any class.

    Returns:
        Its `__init__`.
    """
    return cls.__init__  # type: ignore[misc]  # a subclass may take others: only its signature is read


def refuse_types(cls: type, settings: Mapping[str, Any]) -> None:
    """Refuse values of a wrong type, which Python would convert, and words that a class never compares with.

    Args:
        cls: Scheduler class.
        settings: Its settings.

    Raises:
        ComposerError: There is such a setting.
    """
    hints = _type_hints(cls)
    for name, value in settings.items():
        hint = hints.get(name)
        if hint is not None:
            require(f"scheduler.{name}", value, hint)
        if name in WORDS and isinstance(value, str) and not _mentions(cls, value):
            raise ComposerError(f"scheduler.{name}", value, f"{cls.__name__} knows no such word", _words(cls, name))


def setting_hints(cls: type) -> dict[str, Any]:
    """Describe which values the settings of a class take.

    Args:
        cls: Scheduler class.

    Returns:
        Parameter of its constructor → an annotation; None where its values are tried only.
    """
    hints: dict[str, Any] = dict.fromkeys(inspect.signature(constructor(cls)).parameters) | _type_hints(cls)
    hints.pop("self", None)
    words = {name: _words(cls, name) for name in hints if name in WORDS}
    # `| None` is for types and no values, of which this is one
    return hints | {name: Optional[Literal[tuple(known)]] for name, known in words.items() if known}  # noqa: UP045


def _type_hints(cls: type) -> dict[str, Any]:
    """Parameter → what its values must match, for parameters of a known type."""
    parameters = inspect.signature(constructor(cls)).parameters.values()
    hints = {parameter.name: _HINTS.get(frozenset(_type_names(parameter))) for parameter in parameters}
    return {name: hint for name, hint in hints.items() if hint is not None}


def _mentions(cls: type, word: str) -> bool:
    """Whether the source of a class has a word: many classes raise nothing for one that they never compare with."""
    source = _source(cls)
    return source is None or f'"{word}"' in source or f"'{word}'" in source


@lru_cache(maxsize=128)
def _source(cls: type) -> str | None:
    """Source of a class; None if there is none."""
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):
        return None


def _words(cls: type, name: str) -> list[str]:
    return [word for word in WORDS[name] if _mentions(cls, word)]


def _type_names(parameter: inspect.Parameter) -> set[str]:
    """Names of the types that an annotation allows beside None."""
    annotation = parameter.annotation
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    text = text.removeprefix("typing.Optional[").rstrip("]")
    return {name.strip() for name in text.split("|")} - {"None"}


def blame_setting(
    cls: type, settings: Mapping[str, Any], error: Exception, attempt: Callable[[Mapping[str, Any]], object]
) -> ComposerError:
    """Find the setting that an error is due to: the one without which it does not occur.

    Args:
        cls: Scheduler class.
        settings: Its settings.
        error: Error that the class raised.
        attempt: The failing call, as a function of the settings.

    Returns:
        A refusal of that setting, with the values that work, or of the scheduler if no single setting is at fault.
    """
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    for name, value in settings.items():
        if _works(attempt, {key: other for key, other in settings.items() if key != name}):
            words = (word for word in WORDS.get(name, ()) if word != value)
            allowed = [word for word in words if _works(attempt, {**settings, name: word})]
            return ComposerError(f"scheduler.{name}", value, f"{cls.__name__} can't do it: {reason}", allowed)
    return ComposerError("scheduler", cls.__name__, f"refuses these settings: {reason}")


def _works(attempt: Callable[[Mapping[str, Any]], object], settings: Mapping[str, Any]) -> bool:
    try:
        attempt(settings)
    except Exception:
        return False
    return True
