"""What a run replaces on shared models is put back, whatever was there before; copies of schedulers step as they
are.
"""

from __future__ import annotations

import copy
import inspect

import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.hooks import HookRegistry
from diffusers.hooks import ModelHook as DiffusersHook
from pipelines.hosted.cases import Recorder, hosted, request

from composer.pipelines.hosted.own_pipeline import run_pipeline
from composer.pipelines.hosted.wrapping import listen, listen_to_models, models_in
from composer.testing import pipelines

pytestmark = pytest.mark.usefixtures("one_thread")


class Double(DiffusersHook):
    """Doubles the output."""

    def post_forward(self, module, output):
        return (output[0] * 2,)


class Halve(ModelHook):
    """Halves the output."""

    def post_forward(self, module, output):
        return (output[0] / 2,)


def by_accelerate(pipe):
    add_hook_to_module(pipe.unet, Halve())
    return lambda: remove_hook_from_module(pipe.unet)


def by_diffusers(pipe):
    registry = HookRegistry.check_if_exists_or_initialize(pipe.unet)
    registry.register_hook(Double(), "double")
    return lambda: registry.remove_hook("double")


def compiled_by_method(pipe):
    pipe.unet.compile(backend="eager")
    return lambda: setattr(pipe.unet, "_compiled_call_impl", None)


def compiled(pipe):
    unet = pipe.unet
    pipe.unet = torch.compile(unet, backend="eager")
    return lambda: setattr(pipe, "unet", unet)


def plain(pipe):
    return lambda: None


@pytest.mark.parametrize(
    "change",
    [
        plain, by_accelerate, by_diffusers,
        pytest.param(compiled_by_method, marks=pytest.mark.slow), pytest.param(compiled, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_models_are_put_back(change):
    pipe = pipelines.sd()
    pipe.set_progress_bar_config(disable=True)
    undo = change(pipe)
    attributes = ("forward", "_compiled_call_impl")
    before = {name: vars(pipe.unet).get(name) for name in attributes}
    keywords = {"prompt": "a", "num_inference_steps": 2, "output_type": "pt", "guidance_scale": 4.0}
    expected = pipe(**keywords, generator=torch.Generator().manual_seed(7)).images
    recorder = Recorder(edits=False)
    hosted(pipe, [recorder])(request(64, steps=2, negative=None))
    assert [moment for moment, *_ in recorder.seen] == ["before_step", "after_predict", "after_step"] * 2
    assert {name: vars(pipe.unet).get(name) for name in attributes} == before
    again = pipe(**keywords, generator=torch.Generator().manual_seed(7)).images
    assert torch.equal(again, expected)
    undo()
    torch._dynamo.reset()


def test_models_are_put_back_after_a_failure():
    pipe = pipelines.sd()
    with pytest.raises(KeyError), listen_to_models(pipe, Counting()):
        raise KeyError
    assert "forward" not in vars(pipe.unet)


def test_a_forward_that_a_library_replaces_meanwhile_stays():
    pipe = pipelines.sd()
    with listen_to_models(pipe, Counting()):
        pipe.unet.forward = other = lambda *args: None
    assert pipe.unet.forward is other


class Counting:
    """Counts steps."""

    def __init__(self) -> None:
        self.steps = 0

    def begin(self, pipe, frame, timesteps):
        pass

    def evaluate(self, name, call):
        return call()

    def take_step_of_copy(self, name):
        pass

    def take_step(self, name, scheduler, call, prediction, timestep, sample):
        self.steps += 1
        return call(prediction)


@pytest.mark.parametrize("make_copy", [copy.deepcopy, copy.copy])
def test_copies_of_a_scheduler_step_as_they_are(make_copy):
    shared, counting = pipelines.sd3(), Counting()
    pipe = run_pipeline(shared)
    listen(pipe, counting)
    scheduler = pipe.scheduler
    twin, latents = make_copy(scheduler), torch.zeros(1, 16, 8, 8)
    for one in (scheduler, twin):
        one.set_timesteps(2)
        one.step(latents, one.timesteps[0], latents)
    assert counting.steps == 1
    assert isinstance(scheduler, FlowMatchEulerDiscreteScheduler)
    assert type(scheduler) == FlowMatchEulerDiscreteScheduler  # noqa: E721
    assert list(inspect.signature(scheduler.step).parameters)[:3] == ["model_output", "timestep", "sample"]
    assert type(shared.scheduler) is FlowMatchEulerDiscreteScheduler and "progress_bar" not in vars(shared)


def test_autoencoders_and_text_encoders_do_not_predict():
    assert list(models_in(pipelines.sdxl())) == ["unet"]
