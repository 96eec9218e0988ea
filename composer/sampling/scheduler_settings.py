"""Which setting a scheduler's class does not bear, whatever it raises, and which values of it do work."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from composer.errors import ComposerError
from composer.system.constraints import require

#: Values of settings that are words, wherever diffusers knows them; which of them a class bears is tried.
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


def refuse_kinds(cls: type, settings: Mapping[str, Any]) -> None:
    """Refuse a word where the class wants a truth value or a number (Python takes `maybe` for true), and a word that it
    never asks for.

    Raises:
        ComposerError: such a setting.
    """
    wanted = inspect.signature(cls.__init__).parameters
    for name, value in settings.items():
        hint = _HINTS.get(frozenset(_kinds(wanted[name]))) if name in wanted else None
        if hint is not None:
            require(f"scheduler.{name}", value, hint)
        if name in WORDS and isinstance(value, str) and not _speaks_of(cls, value):
            raise ComposerError(f"scheduler.{name}", value, f"{cls.__name__} knows no such word", _known(cls, name))


def _speaks_of(cls: type, word: str) -> bool:
    """Whether a word stands in the source of a class: of a word that it never asks for, many raise nothing."""
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):
        return True
    return f'"{word}"' in source or f"'{word}'" in source


def _known(cls: type, name: str) -> list[str]:
    return [word for word in WORDS[name] if _speaks_of(cls, word)]


def _kinds(parameter: inspect.Parameter) -> set[str]:
    """Names of the types that an annotation allows beside None."""
    note = parameter.annotation
    text = (
        getattr(note, "__name__", str(note))
        if isinstance(note, type)
        else str(note).removeprefix("typing.Optional[").rstrip("]")
    )
    return {each.strip() for each in text.split("|")} - {"None"}


def blamed(
    cls: type, settings: Mapping[str, Any], error: Exception, works: Callable[[Mapping[str, Any]], object]
) -> ComposerError:
    """What a class raised, as a refusal of the one setting without which it does not.

    Args:
        works: what raised, as a function of the settings.
    """
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    for name, value in settings.items():
        if _tried(works, {key: each for key, each in settings.items() if key != name}):
            allowed = [
                word for word in WORDS.get(name, ()) if word != value and _tried(works, {**settings, name: word})
            ]
            return ComposerError(f"scheduler.{name}", value, f"{cls.__name__} can't do it: {reason}", allowed)
    return ComposerError("scheduler", cls.__name__, f"refuses these settings: {reason}")


def _tried(works: Callable[[Mapping[str, Any]], object], settings: Mapping[str, Any]) -> bool:
    try:
        works(settings)
    except Exception:
        return False
    return True
