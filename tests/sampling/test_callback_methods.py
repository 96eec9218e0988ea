"""A callback's method that no run would call is refused with the moment's name, before weights load."""

from __future__ import annotations

import pytest

import composer
from composer.callbacks.base import StepCallback
from composer.errors import ComposerError
from composer.sampling import callback_methods
from composer.sampling.hooks import MOMENTS

MEANT = {
    "on_step_end": "after_step", "callback_on_step_end": "after_step", "on_step_begin": "before_step",
    "on_step_start": "before_step", "pre_step": "before_step", "post_step": "after_step", "step_end": "after_step",
    "callback_fn": "after_step", "after_steps": "after_step",
    "before_steps": "before_step", "beforestep": "before_step", "after_prediction": "after_predict",
    "on_train_end": "after_decode", "on_decode": "after_decode", "after_decoding": "after_decode",
}  # fmt: skip
FINE = ("save", "finished", "step", "show", "start", "scale_noise", "close", "images", "save_step")


def made(**methods) -> StepCallback:
    return type("Mine", (StepCallback,), methods)()


@pytest.mark.parametrize("name", MEANT)
def test_a_method_that_is_never_called_is_refused(name):
    with pytest.raises(
        ComposerError, match=rf"callbacks\.mine={name}: is never called here: define {MEANT[name]}\(self, "
    ):
        callback_methods.check("mine", made(**{name: lambda self, *arguments: None}))


@pytest.mark.parametrize("name", FINE)
def test_helpers_may_be_called_as_they_like(name):
    callback_methods.check("mine", made(**{name: lambda self: None, "after_step": lambda self, step, latents: None}))


@pytest.mark.parametrize("moment", callback_methods.ARGUMENTS)
def test_a_moment_takes_what_it_gets(moment):
    callback_methods.check("mine", made(**{moment: lambda self, *arguments: None}))
    for wrong in (lambda self: None, lambda self, pipe, index, timestep, kwargs: None):
        with pytest.raises(
            ComposerError,
            match=rf"callbacks\.mine={moment}: takes other arguments than it gets: define {moment}\(self, ",
        ):
            callback_methods.check("mine", made(**{moment: wrong}))


def test_a_callback_that_is_only_called_itself_is_refused():
    with pytest.raises(ComposerError, match="__call__: is never called here"):
        callback_methods.check("mine", made(__call__=lambda self, *arguments: None))


def test_all_moments_are_known():
    assert {*callback_methods.ARGUMENTS} == {"around", *MOMENTS}


def test_check_refuses_them_without_a_run():
    with pytest.raises(ComposerError, match=r"callbacks\.Mine=on_step_end"):
        composer.check(callbacks=[made(on_step_end=lambda self, *arguments: None)])
