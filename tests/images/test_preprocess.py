"""Preprocessors of control images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from composer.images import preprocess

pytestmark = pytest.mark.quick


@pytest.fixture
def image():
    """A dark square on a light ground."""
    pixels = np.full((48, 64, 3), 220, np.uint8)
    pixels[12:36, 16:48] = (40, 60, 20)
    return Image.fromarray(pixels)


def test_canny_is_that_of_opencv_and_finds_the_outline(image):
    edges = preprocess.canny(image, 50, 150)
    expected = cv2.Canny(np.asarray(image), 50, 150)
    assert np.array_equal(np.asarray(edges), np.stack([expected] * 3, axis=-1))
    marked = np.asarray(edges)[..., 0] > 0
    assert marked.any() and not marked[20:28, 24:40].any() and not marked[:8].any()


def test_gray_and_invert_are_exact(image):
    assert preprocess.gray(image).tobytes() == image.convert("L").convert("RGB").tobytes()
    assert preprocess.invert(preprocess.invert(image)).tobytes() == image.tobytes()
    assert preprocess.invert(image).getpixel((0, 0)) == (35, 35, 35)


def test_lineart_marks_the_dark_side_of_the_outline(image):
    lines = np.asarray(preprocess.lineart(image))[..., 0]
    assert lines[13, 30] > 100 and lines[24, 32] == 0 and lines[2, 2] == 0
    assert preprocess.lineart(ImageOps.grayscale(image).convert("RGB")).size == image.size


def test_blur_grows_with_the_radius(image):
    def sharpness(radius: float) -> float:
        return float(np.abs(np.diff(np.asarray(preprocess.blur(image, radius), np.float64), axis=1)).max())

    assert sharpness(8) < sharpness(2) < 180


@pytest.mark.parametrize("name", ["canny", "gray", "invert", "blur", "lineart"])
def test_the_size_and_mode_stay_and_the_image_is_not_changed(image, name):
    before = image.tobytes()
    result = getattr(preprocess, name)(image)
    assert (result.size, result.mode, image.tobytes()) == (image.size, "RGB", before)
