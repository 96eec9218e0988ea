"""What was typed → what Optuna may choose from. Hydra's grammar: `a,b`, `choice(…)`, `range(…)`, `interval(…)`,
`tag(log, …)`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from composer.errors import ComposerError
from composer.sweeps.grammar import Grammar, JobSetting, format_value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

#: An interval whose ends are typed as whole numbers; Hydra makes floats of them.
_WHOLE = re.compile(r"interval\(\s*(?:start\s*=\s*)?[+-]?\d+\s*,\s*(?:end\s*=\s*)?[+-]?\d+\s*\)")
#: Digits that a number from an interval is rounded to: what is generated is what is printed.
DIGITS = 6
#: One point of a space: the value of each axis, as typed.
Point = tuple[str, ...]


@dataclass(frozen=True)
class Axis:
    """One key that is searched over. key: as typed, with its prefix. texts: of all values where these are floats with
    steps, or words.
    """

    key: str
    distribution: BaseDistribution
    texts: tuple[str, ...] = ()

    @property
    def size(self) -> float:
        """How many values it has."""
        if self.texts:
            return len(self.texts)
        low, high = self.distribution.low, self.distribution.high
        return (high - low) // self.distribution.step + 1 if isinstance(low, int) else 1 if low == high else math.inf

    @property
    def ends(self) -> tuple[str, ...]:
        """Values to look at beforehand: all words, both ends of numbers."""
        numbers = hasattr(self.distribution, "low")
        return (
            tuple(self.text(end) for end in (self.distribution.low, self.distribution.high)) if numbers else self.texts
        )

    def text(self, value: Any) -> str:
        """A value of Optuna's as it would be typed."""
        if self.texts:
            return value if isinstance(value, str) else min(self.texts, key=lambda text: abs(float(text) - value))
        if isinstance(value, int):
            return str(value)
        rounded = float(f"{value:.{DIGITS}g}")
        return repr(rounded if self.distribution.low <= rounded <= self.distribution.high else float(value))

    def any(self, random: Random) -> Any:
        """Some value."""
        if not hasattr(self.distribution, "low"):
            return random.choice(self.texts)
        if self.texts:
            return float(random.choice(self.texts))
        low, high = self.distribution.low, self.distribution.high
        return (
            random.randrange(low, high + 1, self.distribution.step)
            if isinstance(low, int)
            else random.uniform(low, high)
        )


class Space:
    """All axes, and what is the same for every point.

    Raises:
        ComposerError: nothing to choose from, or bounds that can't be.
    """

    def __init__(self, grammar: Grammar, overrides: Sequence[str]) -> None:
        self.grammar = grammar
        last = {grammar.parse(text).key_or_group: text for text in overrides}  # as in Hydra, what is given last counts
        self.fixed = tuple(text for text in last.values() if not grammar.parse(text).is_sweep_override())
        swept = [grammar.parse(text) for text in last.values() if text not in self.fixed]
        self.axes = tuple(axis_of(override) for override in swept)
        if not self.axes:
            reason = "nothing to search over: give a key several values, such as steps=range(4,30) or guidance=interval(1.0,9.0)"
            raise ComposerError("hydra/sweeper", "optuna", reason)

    @property
    def size(self) -> float:
        """How many points there are."""
        return math.prod(axis.size for axis in self.axes)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        return {axis.key: axis.distribution for axis in self.axes}

    def point(self, parameters: Mapping[str, Any]) -> Point:
        return tuple(axis.text(parameters[axis.key]) for axis in self.axes)

    def words(self, point: Point) -> tuple[str, ...]:
        """The overrides that are a point's own."""
        return tuple(f"{axis.key}={text}" for axis, text in zip(self.axes, point))

    def settings(self, words: Sequence[str]) -> tuple[JobSetting, ...]:
        """What is fixed, and these overrides, which win."""
        settings = [self.grammar.setting(text) for text in (*self.fixed, *words)]
        return tuple({setting.key: setting for setting in settings}.values())

    def values(self, point: Point) -> dict[str, str]:
        """Key → value as text."""
        return {setting.key: format_value(setting.value) for setting in map(self.grammar.setting, self.words(point))}

    def corners(self) -> list[Point]:
        """Points that between them have each word, and both ends of each range of numbers, once."""
        first = tuple(axis.ends[0] for axis in self.axes)
        others = [(*first[:i], end, *first[i + 1 :]) for i, axis in enumerate(self.axes) for end in axis.ends[1:]]
        return [first, *others]

    def untried(self, parameters: Mapping[str, Any], known: Collection[Point], random: Random) -> dict[str, Any]:
        """Near a point that is known, one that is not: it differs in one axis, or in all where these are known too.
        There must be one.
        """
        for _ in range(20):
            axis = random.choice(self.axes)
            near = {**parameters, axis.key: axis.any(random)}
            if self.point(near) not in known:
                return near
        while True:
            other = {axis.key: axis.any(random) for axis in self.axes}
            if self.point(other) not in known:
                return other


def axis_of(override: Override) -> Axis:
    """One swept override as an axis."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    key, found, typed = override.get_key_element(), override.value(), (override.input_line or "").partition("=")[2]
    log = "log" in getattr(found, "tags", ())
    try:
        if isinstance(found, IntervalSweep):
            whole = isinstance(found.start, int) or ("float(" not in typed and _WHOLE.search(typed))
            return Axis(
                key, (IntDistribution if whole else FloatDistribution)(*_bounds(found.start, found.end, whole), log=log)
            )
        if isinstance(found, RangeSweep) and all(
            isinstance(each, int) for each in (found.start, found.stop, found.step)
        ):
            numbers = range(found.start, found.stop, found.step)
            if not numbers:
                raise ValueError("it has no values")
            return Axis(key, IntDistribution(min(numbers), max(numbers), log=log, step=abs(found.step)))
        texts = tuple(dict.fromkeys(override.sweep_string_iterator()))
        if not texts:
            raise ValueError("it has no values")
        if not isinstance(found, RangeSweep):
            return Axis(key, CategoricalDistribution(texts), texts)
        low, high = min(map(float, texts)), max(map(float, texts))
        return Axis(key, FloatDistribution(low, high, log=log, step=None if log else abs(found.step)), texts)
    except ValueError as error:
        raise ComposerError(key, typed, f"can't be searched over: {str(error).splitlines()[0]}") from None


def _bounds(start: float, end: float, whole: Any) -> tuple[Any, Any]:
    return (int(start), int(end)) if whole else (float(start), float(end))
