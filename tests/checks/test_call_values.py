"""Values at the start of a function are computed from its source text as a run computes them, or are unknown."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import pytest

from composer.checks.call_values import UNKNOWN, divisors, local_values

SELF = SimpleNamespace(factor=8, sizes=[16, 24], is_int=False)


def by_or(self, image=None, height=None):
    height = height or self.factor * 4
    height = height // 3
    return height


def by_condition(self, image=None, height=None):
    if height is None or self.is_int:
        height = self.sizes[0] if not self.is_int else 1
        height, image = height * self.factor, 0  # noqa: F841
    return height


def by_image(self, image=None, height=None):
    if image is not None and len(image) > 0:
        height = height or image.height
    height = height or self.factor
    return height


def by_call(self, image=None, height=None):
    height = height or self.compute()
    return height


def in_a_loop(self, image=None, height=None):
    for side in self.sizes:
        height = side
    return height


def without(self, image=None, height: int = 48):
    return height


@pytest.mark.parametrize(
    ("function", "image", "height"),
    [
        (by_or, None, 32),
        (by_condition, None, 128),
        (by_image, None, 8),
        (by_image, SELF, UNKNOWN),
        (by_call, None, UNKNOWN),
        (in_a_loop, None, UNKNOWN),
        (without, None, 48),
    ],
)
def test_the_first_complete_value_counts(function: Any, image: object, height: object):
    first, _ = local_values(function, {"self": SELF, "image": image}, ["height"])
    assert first["height"] == height


def test_an_attribute_that_only_weights_have_is_unknown():
    assert local_values(by_or, {"self": SimpleNamespace()}, ["height"])[0] == {"height": UNKNOWN}


def by_setting(self):
    height = self.model.sample_size * 8
    return height


def test_settings_of_a_model_are_read_without_a_warning():
    from diffusers import AutoencoderKL

    model = AutoencoderKL(sample_size=16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, _ = local_values(by_setting, {"self": SimpleNamespace(model=model)}, ["height"])
    assert first["height"] == 128


def checked(self, height, width, count):
    multiple = self.factor * 2
    if height % multiple != 0 or int(width) % 32 != 0 or count % 5:
        raise ValueError
    return height // self.compute()


def test_divisors_are_those_of_the_named_arguments():
    assert sorted(divisors(checked, {"self": SELF}, ("height", "width"))) == [16, 32]
