"""composer's own tasks pass the kit, and each of its tests fails a task that it is there for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from composer.tasks.img2img import Img2Img
from composer.tasks.inpaint import Inpaint
from composer.tasks.text2img import Text2Img
from composer.tasks.unconditional import Unconditional
from composer.testing.conformance import TaskTests

pytestmark = pytest.mark.usefixtures("one_thread")
CONF = Path(__file__).resolve().parents[2] / "conf" / "task"


class TestText2Img(TaskTests):
    families = ("sd", "flux")
    values = {"prompt": ["a cat", "a dog"]}
    option = CONF / "text2img.yaml"

    def make(self):
        return Text2Img()


class TestImg2Img(TaskTests):
    values = {"prompt": "a cat", "image": "sample:scene", "strength": 0.5}
    option = CONF / "img2img.yaml"

    def make(self):
        return Img2Img()


@pytest.mark.slow
class TestInpaint(TaskTests):
    values = {
        "prompt": "a cat", "image": "sample:scene", "mask": "sample:mask", "strength": 0.5, "mask_blur": 0,
        "invert_mask": False, "keep_unmasked": True,
    }  # fmt: skip
    option = CONF / "inpaint.yaml"

    def make(self):
        return Inpaint()


class TestUnconditional(TaskTests):
    families = ("ddpm",)
    values = {"images": 2}
    option = CONF / "unconditional.yaml"

    def make(self):
        return Unconditional()


class Remembers(Text2Img):
    count = 0

    def start(self, family, sampler, request):
        type(self).count += 1
        start = super().start(family, sampler, request)
        return replace(start, latents=start.latents * (1 + self.count / 10))


class Larger(Text2Img):
    def start(self, family, sampler, request):
        start = super().start(family, sampler, request)
        return replace(start, latents=start.latents.repeat(1, 1, 2, 2))


class Anything(Text2Img):
    def request(self, values, checkpoint):
        return super().request({key: value for key, value in values.items() if key != "no_such_key"}, checkpoint)


class ForImages(Text2Img):
    conditioned_on = "image"


@pytest.mark.parametrize(
    ("cls", "test"),
    [
        (Remembers, "test_it_runs_and_repeats"),
        (Larger, "test_it_starts_with_latents_of_the_models_layout"),
        (ForImages, "test_its_families_can_do_it"),
    ],
)
def test_a_faulty_task_is_found(cls, test):
    kit = type("Kit", (TestText2Img,), {"families": ("sd",), "make": lambda self: cls()})()
    with pytest.raises(AssertionError):
        getattr(kit, test)()


def test_a_task_that_takes_any_key_is_found():
    kit = type("Kit", (TestText2Img,), {"make": lambda self: Anything()})()
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        kit.test_an_unknown_key_is_refused_by_name()
