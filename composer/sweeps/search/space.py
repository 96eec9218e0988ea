"""Overrides of a search to the space that Optuna samples.

The grammar is Hydra's: ``a,b``, ``choice(…)``, ``range(…)``, ``interval(…)``, ``tag(log, …)``.
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

#: An interval with integers as bounds, which Hydra converts to floats.
_INTEGER_INTERVAL = re.compile(r"interval\(\s*(?:start\s*=\s*)?[+-]?\d+\s*,\s*(?:end\s*=\s*)?[+-]?\d+\s*\)")
#: Significant digits of a sampled number: the image is generated with the value that is printed.
DIGITS = 6
#: Attempts to change a single axis before all axes are sampled anew.
NEIGHBOUR_ATTEMPTS = 20
#: One point of a space: the value of each axis, as text.
Point = tuple[str, ...]


@dataclass(frozen=True)
class Axis:
    """One key that is searched over.

    Attributes:
        key: The key as typed, with its prefix.
        distribution: Distribution that Optuna samples.
        texts: All values as text, for categories and for ranges of floats; else empty.
    """

    key: str
    distribution: BaseDistribution
    texts: tuple[str, ...] = ()

    @property
    def bounds(self) -> tuple[Any, Any] | None:
        """Lowest and highest value of a numeric axis; ``None`` for categories."""
        distribution: Any = self.distribution  # the base class has no bounds
        return (distribution.low, distribution.high) if hasattr(distribution, "low") else None

    @property
    def size(self) -> float:
        """Number of values; infinite for an interval of floats."""
        if self.texts or self.bounds is None:
            return len(self.texts)
        low, high = self.bounds
        return (high - low) // self._step + 1 if isinstance(low, int) else 1 if low == high else math.inf

    @property
    def _step(self) -> Any:
        distribution: Any = self.distribution
        return distribution.step

    @property
    def extremes(self) -> tuple[str, ...]:
        """Values to check beforehand: all categories, or both bounds of numbers."""
        return self.texts if self.bounds is None else tuple(self.text(bound) for bound in self.bounds)

    def text(self, value: Any) -> str:
        """Format a value as it would be typed.

        Args:
            value: Value sampled by Optuna.

        Returns:
            Its text; floats are rounded to `DIGITS` digits within the bounds.
        """
        if self.texts:
            return value if isinstance(value, str) else min(self.texts, key=lambda text: abs(float(text) - value))
        if isinstance(value, int):
            return str(value)
        rounded = float(f"{value:.{DIGITS}g}")
        low, high = self.bounds or (-math.inf, math.inf)
        return repr(rounded if low <= rounded <= high else float(value))

    def sample(self, random: Random) -> Any:
        """Sample a value uniformly.

        Args:
            random: Source of randomness.

        Returns:
            A value as Optuna would sample it.
        """
        if self.bounds is None:
            return random.choice(self.texts)
        if self.texts:
            return float(random.choice(self.texts))
        low, high = self.bounds
        return random.randrange(low, high + 1, self._step) if isinstance(low, int) else random.uniform(low, high)


class Space:
    """Search space: all axes, and the overrides that every point has in common.

    Args:
        grammar: Parser of the overrides.
        overrides: Overrides that make the trials. The last one of a key counts, as in Hydra.

    Attributes:
        fixed: Overrides with a single value.
        axes: Axes of the space.

    Raises:
        ComposerError: No override has several values, or the bounds of one are invalid.
    """

    def __init__(self, grammar: Grammar, overrides: Sequence[str]) -> None:
        self.grammar = grammar
        last = {grammar.parse(text).key_or_group: text for text in overrides}
        self.fixed = tuple(text for text in last.values() if not grammar.parse(text).is_sweep_override())
        swept = [grammar.parse(text) for text in last.values() if text not in self.fixed]
        self.axes = tuple(parse_axis(override) for override in swept)
        if not self.axes:
            reason = "nothing to search over: give a key several values, "
            reason += "such as steps=range(4,30) or guidance=interval(1.0,9.0)"
            raise ComposerError("hydra/sweeper", "optuna", reason)

    @property
    def size(self) -> float:
        """Number of points; can be infinite."""
        return math.prod(axis.size for axis in self.axes)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Distribution of each axis by its key."""
        return {axis.key: axis.distribution for axis in self.axes}

    def point(self, parameters: Mapping[str, Any]) -> Point:
        """Convert sampled parameters to a point.

        Args:
            parameters: Value of each axis by its key, as Optuna sampled it.

        Returns:
            The point.
        """
        return tuple(axis.text(parameters[axis.key]) for axis in self.axes)

    def words(self, point: Point) -> tuple[str, ...]:
        """List the overrides of a point, without the fixed ones.

        Args:
            point: The point.

        Returns:
            An override per axis.
        """
        return tuple(f"{axis.key}={text}" for axis, text in zip(self.axes, point))

    def settings(self, words: Sequence[str]) -> tuple[JobSetting, ...]:
        """Combine the fixed overrides with others.

        Args:
            words: Overrides that take precedence.

        Returns:
            All overrides, parsed.
        """
        settings = [self.grammar.setting(text) for text in (*self.fixed, *words)]
        return tuple({setting.key: setting for setting in settings}.values())

    def values(self, point: Point) -> dict[str, str]:
        """Format the values of a point.

        Args:
            point: The point.

        Returns:
            Value as text by key.
        """
        return {setting.key: format_value(setting.value) for setting in map(self.grammar.setting, self.words(point))}

    def corners(self) -> list[Point]:
        """List points that contain each category, and both bounds of each numeric axis, at least once.

        Returns:
            A first point, and points that differ from it in one axis.
        """
        first = tuple(axis.extremes[0] for axis in self.axes)
        others = [(*first[:i], end, *first[i + 1 :]) for i, axis in enumerate(self.axes) for end in axis.extremes[1:]]
        return [first, *others]

    def sample_untried(self, parameters: Mapping[str, Any], known: Collection[Point], random: Random) -> dict[str, Any]:
        """Sample a point that was not tried, near one that was.

        Args:
            parameters: Parameters of the point that was tried.
            known: All points that were tried; the space must contain others.
            random: Source of randomness.

        Returns:
            Parameters that differ in one axis, or in all axes if the neighbours were tried too.
        """
        for _ in range(NEIGHBOUR_ATTEMPTS):
            axis = random.choice(self.axes)
            near = {**parameters, axis.key: axis.sample(random)}
            if self.point(near) not in known:
                return near
        while True:
            other = {axis.key: axis.sample(random) for axis in self.axes}
            if self.point(other) not in known:
                return other


def parse_axis(override: Override) -> Axis:
    """Convert an override with several values to an axis.

    Args:
        override: Parsed override.

    Returns:
        The axis.

    Raises:
        ComposerError: It has no values, or bounds that Optuna rejects.
    """
    key, typed = override.get_key_element(), (override.input_line or "").partition("=")[2]
    try:
        return _axis(key, typed, override)
    except ValueError as error:
        raise ComposerError(key, typed, f"can't be searched over: {str(error).splitlines()[0]}") from None


def _axis(key: str, typed: str, override: Override) -> Axis:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    value = override.value()
    log = "log" in getattr(value, "tags", ())
    if isinstance(value, IntervalSweep):
        return _interval_axis(key, typed, value, log)
    if isinstance(value, RangeSweep) and all(isinstance(bound, int) for bound in (value.start, value.stop, value.step)):
        return _integer_range_axis(key, value, log)
    texts = tuple(dict.fromkeys(override.sweep_string_iterator()))
    if not texts:
        raise ValueError("it has no values")
    if not isinstance(value, RangeSweep):
        return Axis(key, CategoricalDistribution(texts), texts)
    low, high = min(map(float, texts)), max(map(float, texts))
    return Axis(key, FloatDistribution(low, high, log=log, step=None if log else abs(value.step)), texts)


def _interval_axis(key: str, typed: str, value: IntervalSweep, log: bool) -> Axis:
    from optuna.distributions import FloatDistribution, IntDistribution

    start, end = value.start, value.end
    if start is None or end is None:
        raise ValueError("it has no bounds")
    if isinstance(start, int) or ("float(" not in typed and _INTEGER_INTERVAL.search(typed)):
        return Axis(key, IntDistribution(int(start), int(end), log=log))
    return Axis(key, FloatDistribution(float(start), float(end), log=log))


def _integer_range_axis(key: str, value: RangeSweep, log: bool) -> Axis:
    from optuna.distributions import IntDistribution

    step = int(value.step)
    values = range(int(value.start or 0), int(value.stop or 0), step)
    if not values:
        raise ValueError("it has no values")
    return Axis(key, IntDistribution(min(values), max(values), log=log, step=abs(step)))
