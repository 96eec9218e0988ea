"""Which cases of a battery are standard ones: a sample that tries each value; the others are slow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import combinations, product
from typing import Any

import pytest


def sampled(options: Sequence[Any], *axes: Iterable[Any], each: int = 1) -> list[Any]:
    """The product of options and of other settings, of which all but a sample is slow.

    Each option takes what has been together least so far, so each value is in the sample, and most pairs are.

    Args:
        options: names, for instance of scheduler options.
        axes: values of further arguments of the test, such as batch sizes.
        each: how many cases of each option are in the sample.

    Returns:
        Parameters for `pytest.mark.parametrize`: the option, then a value of each axis.
    """
    others = [*product(*axes)]
    kept, seen = set(), set()
    for option in [*options] * each:
        cases = [case for values in others if (case := (option, *values)) not in kept]
        if cases:
            case = max(cases, key=lambda case: len(pairs(case) - seen))
            kept.add(case)
            seen |= pairs(case)
    return [pytest.param(*case, marks=() if case in kept else pytest.mark.slow) for case in product(options, *axes)]


def pairs(case: tuple) -> set[tuple]:
    """Any two values of a case, with their positions."""
    return set(combinations(enumerate(case), 2))


def slow_but(standard: Collection[Any] | Callable[[Any], bool], values: Iterable[Any]) -> list[Any]:
    """Parameters for `pytest.mark.parametrize`, of which all but those that are named, or chosen by a function, are
    slow.
    """
    chosen = standard if callable(standard) else standard.__contains__
    return [
        pytest.param(
            *(value if isinstance(value, tuple) else (value,)), marks=() if chosen(value) else pytest.mark.slow
        )
        for value in values
    ]


def every(number: int, values: Iterable[Any]) -> list[Any]:
    """Parameters for `pytest.mark.parametrize`, of which all but every so many are slow."""
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.slow if i % number else ())
        for i, value in enumerate(values)
    ]


def alternately(cases: Iterable[tuple[Any, ...]], others: Sequence[Any]) -> list[Any]:
    """Each case with each of some other values, of which all but one, in turn, are slow."""
    return [
        pytest.param(*case, other, marks=() if i % len(others) == j else pytest.mark.slow)
        for i, case in enumerate(cases)
        for j, other in enumerate(others)
    ]
