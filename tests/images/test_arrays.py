"""Arrays and tensors are images where their meaning is clear, and else refused with what to pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import composer
from composer.errors import ComposerError
from composer.images.arrays import is_image, to_images

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 9, 3), np.uint8)
GRAY, ALPHA = PIXELS[..., 0], np.dstack([PIXELS, PIXELS[..., :1]])
FIRST = np.moveaxis(PIXELS, -1, 0)
CLEAR = {
    "bytes": (PIXELS, PIXELS), "floats": (PIXELS / 255, PIXELS), "float32": ((PIXELS / 255).astype(np.float32), PIXELS),
    "float16": (np.eye(4, dtype=np.float16), np.eye(4, dtype=np.uint8) * 255), "gray": (GRAY, GRAY),
    "one_channel": (GRAY[..., None], GRAY),
    "alpha": (ALPHA, ALPHA), "channels_first": (FIRST, PIXELS), "tensor": (torch.from_numpy(FIRST.copy()), PIXELS),
    "tensor_of_floats": (torch.from_numpy(FIRST / 255), PIXELS),
    "tensor_channels_last": (torch.from_numpy(PIXELS), PIXELS),
    "gradient": (torch.from_numpy(FIRST / 255).requires_grad_(), PIXELS), "mask": (GRAY > 99, (GRAY > 99) * 255),
    "not_contiguous": (PIXELS[::-1, ::2], PIXELS[::-1, ::2]),
}  # fmt: skip
UNCLEAR = {
    "int64": PIXELS.astype(int), "floats_to_255": PIXELS.astype(float), "minus_one_to_one": PIXELS / 127.5 - 1,
    "nan": PIXELS * np.nan,
    "one_row": PIXELS[0, 0], "five_axes": PIXELS[None, None], "two_channels": PIXELS[..., :2], "empty": PIXELS[:0],
    "bfloat16": torch.ones(3, 8, 8, dtype=torch.bfloat16), "many_gray": np.zeros((9, 12, 9), np.uint8),
    "texts": np.full((4, 4), "a"),
}  # fmt: skip


@pytest.mark.parametrize("name", CLEAR)
def test_a_clear_array_is_its_pixels(name):
    array, pixels = CLEAR[name]
    assert is_image(array) and np.array_equal(np.asarray(to_images("image", array)), pixels)


@pytest.mark.parametrize("name", UNCLEAR)
def test_an_unclear_array_is_refused(name):
    with pytest.raises(
        ComposerError, match="is not clearly an image: pass a file or a PIL image, or an array of uint8"
    ):
        to_images("image", UNCLEAR[name])


@pytest.mark.parametrize(
    "several", [np.stack([PIXELS] * 2), torch.from_numpy(np.stack([FIRST] * 2)), [PIXELS, Image.fromarray(PIXELS)]]
)
def test_one_axis_more_is_several_images(several):
    assert [np.asarray(to_image).tolist() for to_image in to_images("image", several)] == [PIXELS.tolist()] * 2


def test_a_depth_map_keeps_its_unit():
    result = to_images("depth", np.linspace(0, 9, 12).reshape(3, 4))
    assert result.mode == "F" and result.getextrema() == (0, 9)


@pytest.mark.parametrize("value", ["a.png", 3, None, [], [3], object(), [PIXELS, "a.png"]])
def test_anything_else_is_no_image(value):
    assert not is_image(value)


@pytest.mark.parametrize("value", [object(), [PIXELS, "a.png"], [Image.fromarray(PIXELS), "a.png"]])
def test_what_is_no_image_is_refused_by_its_key(value):
    with pytest.raises(ComposerError, match=r"image=.*must be a file or a PIL image"):
        composer.check("task=img2img", image=value)


def test_an_array_equals_its_image():
    words, image = ("task=img2img", "callbacks=[]", "steps=2"), Image.effect_noise((64, 64), 90).convert("RGB")
    generated = composer.compose(*words, image=image).image.tobytes()
    pixels = np.asarray(image)
    assert composer.compose(*words, image=pixels).image.tobytes() == generated
    assert composer.compose(*words, image=torch.from_numpy(pixels / 255).permute(2, 0, 1)).image.tobytes() == generated
