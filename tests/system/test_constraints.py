"""Annotations as checks of values: what matches, and what a refusal says."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from math import inf, nan
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest

from composer.errors import ComposerError
from composer.system.constraints import (
    Fraction,
    Ge,
    Gt,
    Interval,
    Le,
    Len,
    Lt,
    MinLen,
    MultipleOf,
    NonFinite,
    Predicate,
    Validated,
    check_arguments,
    fits,
    require,
)

if TYPE_CHECKING:
    from torch import Tensor

#: Annotation → values that match, values that do not, and what the refusal says.
CASES: list[tuple[Any, list[Any], list[Any], str]] = [
    (bool, [True, False], [0, 1, "true", None, nan], "must be true or false"),
    (int, [0, -1, 10**400], [True, 2.0, 2.5, nan, "2", None], "must be an integer"),
    (float, [0, -1.5, 10**400], [True, nan, inf, -inf, "2", None, 1j], "must be a number"),
    (str, ["", "x"], [1, None, ["x"], b"x"], "must be text"),
    (None, [None], [0, False, ""], "is not known (allowed: null)"),
    (Literal["fp32", "fp16"], ["fp16"], ["fp64", None, 3, ["fp16"]], "(allowed: fp32, fp16)"),
    (Literal["auto", 1, 2], ["auto", 1, 2], [True, 4, "1"], "(allowed: auto, 1, 2)"),
    (Literal[True, "auto"], [True, "auto"], [1, False, "on"], "(allowed: true, auto)"),
    (Annotated[int, Ge(1)], [1, 2], [0, True, 1.0, "1"], "must be an integer, 1 or more"),
    (Annotated[int, Interval(ge=1, le=9)], [1, 9], [0, 10], "must be an integer from 1 to 9"),
    (Annotated[int, Ge(0), Le(9)], [0, 9], [-1, 10], "must be an integer from 0 to 9"),
    (Annotated[float, Gt(0)], [0.1, 3], [0, -1, nan, inf], "must be a number above 0"),
    (Annotated[float, Interval(gt=0, le=1)], [0.1, 1], [0, 1.1], "must be a number above 0 and at most 1"),
    (Annotated[float, Gt(0), Lt(1)], [0.5], [0, 1], "must be a number above 0 and below 1"),
    (Annotated[float, Le(2.5)], [2.5, -9], [2.6], "must be a number at most 2.5"),
    (Fraction, [0, 0.5, 1], [-0.1, 1.1, True], "must be a number from 0 to 1"),
    (Annotated[int, MultipleOf(8)], [8, 64], [9], "must be an integer, a multiple of 8"),
    (Annotated[int, Ge(8), Le(64), MultipleOf(8)], [8, 64], [0, 9], "must be an integer from 8 to 64, a multiple of 8"),
    (Annotated[Any, Ge(0)], [0, 0.5, True], [-1, "x"], "must be a value, 0 or more"),
    (Annotated[str, MinLen(1)], ["x"], ["", 3], "must be non-empty text"),
    (Annotated[str, Predicate(str.islower)], ["x"], ["X"], "must be text"),
    (Annotated[float, NonFinite()], [nan, inf, 1], [True, "x"], "must be a number"),
    (Annotated[float, Ge(0), NonFinite()], [inf, 1], [nan, -inf], "must be a number, 0 or more"),
    (int | None, [1, None], [True, "x"], "must be an integer or null"),
    (bool | None, [True, None], [1, "often"], "must be true, false or null"),
    (Annotated[int, Ge(1)] | None, [1, None], [0], "must be an integer, 1 or more, or null"),
    (Annotated[int | None, Ge(1)], [1, None], [0], "must be an integer or null, 1 or more"),
    (Literal["auto"] | bool, ["auto", True], [1, "on"], "must be auto, true or false"),
    (Literal["max"] | Annotated[int, Ge(1)], ["max", 3], [0], "must be max, or an integer, 1 or more"),
    (list[str], [[], ["x"], ("x",)], ["x", ["x", 1], None], "must be a list of texts"),
    (Sequence[Fraction], [[0, 1]], [[2], [nan], "x"], "must be a list of numbers, each from 0 to 1"),
    (tuple[int, ...], [(), [1, 2]], [[1.5]], "must be a list of integers"),
    (tuple[float, float], [[1, 2]], [[1], [1, 2, 3]], "must be a list of 2 numbers"),
    (list[int | str], [[1, "x"]], [[None]], "must be a list of values, each an integer or text"),
    (Annotated[list[int], Len(4, 4)], [[1, 2, 3, 4]], [[1]], "must be a list of integers, 4 of them"),
    (
        Annotated[list[Annotated[list[int], Len(2, 2)]], Len(1, 3)],
        [[[1, 2]]],
        [[], [[1]]],
        "must be a list of lists of 2, 1 to 3 of them",
    ),
    (Annotated[list[str], MinLen(1)], [["x"]], [[], "x"], "must be a list of texts, 1 or more of them"),
    (dict[str, float], [{}, {"a": 1}], [{"a": "x"}, {1: 1}, []], "must be values by name"),
    (Mapping[str, Any], [{"a": Ellipsis}], [3], "must be values by name"),
]


@pytest.mark.parametrize(("hint", "good", "bad", "says"), CASES, ids=lambda each: str(each)[:40])
def test_values_are_checked_against_annotations(hint, good, bad, says):
    for value in good:
        assert require("key", value, hint) is value, (value, hint)
    for value in bad:
        with pytest.raises(ComposerError) as caught:
            require("key", value, hint)
        assert caught.value.key == "key" and str(caught.value).endswith(says), str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("hint", [Any, object, complex, bytes, list[Any], "Unresolved"])
def test_other_annotations_are_left_to_the_class(hint):
    assert fits([1] if hint == list[Any] else 3, hint)


def test_a_near_choice_is_suggested():
    with pytest.raises(ComposerError, match=r"x=wbep: is not known\. Did you mean webp\? \(allowed: webp, gif\)"):
        require("x", "wbep", Literal["webp", "gif"])


class Base(Validated):
    def __init__(self, every: Annotated[int, Ge(1)] = 1, **more: int) -> None:
        self.every, self.more = every, more

    @classmethod
    def config_key(cls) -> str:
        return "things.base"


class Derived(Base):
    def __init__(self, latents: Tensor, amount: Fraction = 0.5, every: Annotated[int, Ge(1)] = 1) -> None:
        super().__init__(every)
        self.latents, self.amount = latents, amount


class Bare(Validated):
    pass


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Base(0), "things.base.every=0: must be an integer, 1 or more"),
        (lambda: Base(every=True), "things.base.every=True: must be an integer, 1 or more"),
        (lambda: Derived(None, 2), "things.base.amount=2: must be a number from 0 to 1"),
        (lambda: Derived(None, every=0), "things.base.every=0"),
    ],
)
def test_objects_made_in_python_are_checked(make, says):
    with pytest.raises(ComposerError) as caught:
        make()
    assert str(caught.value).startswith(says)


def test_arguments_that_do_not_bind_are_a_type_error():
    for make in (lambda: Base(1, 2), lambda: Derived(), lambda: Bare(1), lambda: Bare(x=1)):
        with pytest.raises(TypeError):
            make()
    assert isinstance(Bare(), Bare) and Base(2, extra="x").more == {"extra": "x"}


def test_validated_objects_can_be_copied():
    for copied in (copy.copy(Derived(None, 0.25)), copy.deepcopy(Derived(None, 0.25))):
        assert copied.amount == 0.25


def test_what_only_type_checkers_import_is_left_out():
    """One annotation that can't be resolved does not switch the others off."""
    check_arguments("x", Derived, {"latents": 3})
    with pytest.raises(ComposerError, match=r"x\.amount=2"):
        check_arguments("x", Derived, {"latents": 3, "amount": 2})
