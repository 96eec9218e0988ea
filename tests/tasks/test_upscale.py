"""The second pass of upscaling keeps what is not its own."""

from __future__ import annotations

from PIL import Image

from composer.callbacks.request import Request
from composer.tasks.upscale import Upscale


def test_other_inputs_stay_for_the_second_pass():
    second = {"height": 128, "width": 128, "steps_skipped": 2}
    inputs = {"strength": 0.5, "second": second, "style": ("a", "b")}
    request = Request(prompts=("x",), negative_prompts=(None,), seeds=(0,), steps=4, height=64, width=64, inputs=inputs)
    _, following = Upscale().next_pass(request, [Image.new("RGB", (64, 64))])
    assert following.inputs.keys() == {"image", "strength", "style"} and following.inputs["style"] == ("a", "b")
    assert (following.height, following.width, following.steps_skipped) == (128, 128, 2)
