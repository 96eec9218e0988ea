"""A schema accepts what `fits` accepts, and refuses what it refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import pytest
from jsonschema import Draft202012Validator

from composer.system.constraints import Fraction, Ge, Gt, Interval, Len, MinLen, MultipleOf, fits
from composer.system.json_schema import schema_of

HINTS = [
    bool, int, float, str, None, int | None, Literal["auto"] | bool, Literal["a", "b", 3], Fraction,
    Annotated[int, Ge(1)] | None,
    Annotated[float, Gt(0)], Annotated[float, Interval(gt=0, lt=1)], Annotated[int, MultipleOf(8)],
    Annotated[str, MinLen(1)],
    Sequence[str], list[int], tuple[int, str], tuple[float, ...], Annotated[Sequence[int], Len(4, 4)],
    Annotated[list[str],
    MinLen(1)] | None,
    Mapping[str, Any], Mapping[str, float], dict[str, bool], Any, str | Annotated[Sequence[str], MinLen(1)] | None,
]  # fmt: skip
VALUES = [
    None, True, False, 0, 1, -1, 3, 8, 16, 0.5, 1.5, -0.25, "", "a", "auto", "x", [], [1], [1, 2, 3, 4], ["a"],
    [1, "a"], [0.5], {},
    {"a": 1},
    {"a": 0.5}, {"a": True}, {"a": "b"},
]  # fmt: skip


@pytest.mark.parametrize("hint", HINTS, ids=str)
def test_a_schema_agrees_with_fits(hint):
    schema = schema_of(hint)
    Draft202012Validator.check_schema(schema)
    accepted = [Draft202012Validator(schema).is_valid(value) for value in VALUES]
    assert accepted == [fits(value, hint) for value in VALUES]
