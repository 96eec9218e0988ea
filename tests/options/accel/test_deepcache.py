"""DeepCache: which steps are computed in full, and that no forward takes what one of another kind left."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import nn

import composer
from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.options.accel.deepcache import DeepCache, deep
from composer.options.accel.hooking import Forwards
from composer.pipelines.build import build_pipeline
from composer.testing import pipelines

pytestmark = pytest.mark.usefixtures("one_thread")

ON = "accel=[deepcache]"


class Looks(composer.StepCallback):
    """latents: after each step. calls: of the UNet's innermost layers, in each."""

    def __init__(self) -> None:
        self.latents, self.calls = [], []

    @contextmanager
    def around(self, run):
        hooks = [
            layer.register_forward_hook(self.count)
            for layer in run.modules["unet"].modules()
            if isinstance(layer, nn.Conv2d)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def before_step(self, step):
        self.calls.append(0)

    def count(self, *_):
        self.calls[-1] += 1

    def after_step(self, step, latents):
        self.latents.append(latents.clone())


class Asks(composer.StepCallback):
    """Now and then, before the step's own prediction, one of its own: of other latents under another text, or under the
    same.
    """

    def __init__(self, text: str | None) -> None:
        self.text = text

    def around(self, run):
        self.run = run
        self.conditioning = self.text and run.encode([self.text], [None])
        return super().around(run)

    def before_step(self, step):
        if step.index in (0, 3, 4):
            other = step if self.text is None else replace(step, conditioning=self.conditioning)
            self.run.predict(replace(other, latents=step.latents.flip(-1)))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return pipelines.save("sd", tmp_path_factory.mktemp("deepcache") / "sd")


def built(source, *words, more=()):
    usual = ["model=local", f"model.source={source}", "callbacks=[]", "prompt=a cat", "height=64", "width=64"]
    looks, checked = Looks(), check(read(compose_config([*usual, *words])))
    return build_pipeline(checked, [looks, *more]), checked.request, looks


def generated(source, *words, more=()):
    pipeline, request, looks = built(source, *words, more=more)
    pipeline(request)
    return looks


@pytest.mark.parametrize(("interval", "full"), [(2, [0, 1, 3, 5, 7]), (3, [0, 1, 4, 7]), (9, [0, 1])])
def test_the_first_two_steps_and_then_every_so_many_are_computed_in_full(source, interval, full):
    every = generated(source, "steps=8").calls
    on = generated(source, "steps=8", ON, f"accel.deepcache.interval={interval}").calls
    assert [i for i, (some, all_) in enumerate(zip(on, every)) if some == all_] == full


def test_every_step_in_full_is_the_model_itself(source):
    plain = generated(source, "steps=4")
    pipeline, request, looks = built(source, "steps=4")
    with DeepCache(interval=1).active(pipeline.family.pipe):
        pipeline(request)
    assert all(map(torch.equal, plain.latents, looks.latents))


def test_predictions_of_a_callback_do_not_change_the_image(source):
    alone = generated(source, "steps=8", ON)
    requested = generated(source, "steps=8", ON, more=[Asks("another text")])
    assert all(map(torch.equal, alone.latents, requested.latents))


def test_under_another_text_nothing_is_taken_from_before(source):
    switch = ["callbacks=[prompt_switch]", "callbacks.prompt_switch.prompt=a dog", "callbacks.prompt_switch.step=3"]
    every, on = generated(source, "steps=10").calls, generated(source, "steps=10", ON, *switch).calls
    assert on[3] == every[3] and on[2] < every[2]


@pytest.mark.parametrize(("layers", "more"), [(1, 0), (2, 1), (3, 2)])
def test_more_layers_run_if_more_are_requested(layers, more):
    unet = pipelines.sd().unet
    left = {id(inner) for module in deep(unet, layers) for inner in module.modules()}
    running = [
        name
        for name, module in unet.named_modules()
        if type(module).__name__ == "ResnetBlock2D" and id(module) not in left
    ]
    up = [name for name in running if name.startswith("up_blocks")]
    assert len(up) == layers and len(running) - len(up) == min(
        more, 1
    )  # the way down has a convolution between its two


def test_forwards_of_a_step_are_distinguished():
    forwards, one, other = Forwards(), torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
    sample = torch.zeros(1, 4, 8, 8)
    first = [forwards.count(sample, 9, text) for text in (one, other, one)]
    second = [forwards.count(sample, torch.tensor([5]), text) for text in (other, one.clone(), one)]
    assert len(set(first)) == 3 and set(first) == set(second) and forwards.step == 1
    assert forwards.count(torch.cat([sample] * 2), 5, one) not in first
