from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from composer.images import masks

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))


@pytest.mark.parametrize("width", [0, 0.5, 1, 4, 7])
def test_a_seam_is_inside_the_mask(width):
    mask = Image.new("L", (64, 48))
    ImageDraw.Draw(mask).ellipse((6, 9, 50, 40), fill=255)
    soft, hard = np.array(masks.feather_mask(mask, width)), np.array(mask)
    assert (soft[hard == 0] == 0).all() and (soft[hard > 0] > 0).all() and soft[24, 28] == 255
    row = soft[24][hard[24] > 0]
    assert (row == row[::-1]).all() and abs((row < 255).sum() / 2 - np.ceil(width)) <= 1
    assert (np.diff(row[: len(row) // 2]) >= 0).all()


def test_there_is_no_seam_at_the_edge_of_the_image():
    assert masks.feather_mask(Image.new("L", (9, 7), 255), 5).getextrema() == (255, 255)
    assert masks.feather_mask(Image.new("L", (9, 7), 127), 5).getextrema() == (0, 0)


def test_unmasked_pixels_stay_to_the_byte():
    rng = np.random.default_rng(0)
    old, new = (Image.fromarray(rng.integers(0, 256, (256, 256, 3), np.uint8)) for _ in range(2))
    mask = np.broadcast_to(np.arange(256, dtype=np.uint8), (256, 256)).copy()
    both = np.array(masks.composite(old, new, Image.fromarray(mask)))
    assert (both[:, 0] == np.array(old)[:, 0]).all() and (both[:, 255] == np.array(new)[:, 255]).all()
    fraction = mask[..., None] / 255
    assert np.abs(both - (np.array(new) * fraction + np.array(old) * (1 - fraction))).max() <= 1


def test_margins_repeat_the_edges_and_are_white_in_the_mask():
    canvas, mask = masks.pad_for_outpainting(IMAGE, 1, 2, 3, 4)
    assert canvas.size == mask.size == (20, 22) and (canvas.mode, mask.mode) == ("RGB", "L")
    assert canvas.crop((1, 2, 17, 18)).tobytes() == IMAGE.tobytes()
    assert canvas.getpixel((0, 0)) == IMAGE.getpixel((0, 0)) and canvas.getpixel((19, 21)) == IMAGE.getpixel((15, 15))
    assert (
        (np.array(mask)[2:18, 1:17] == 0).all() and (np.array(mask) == 0).sum() == 256 and mask.getextrema() == (0, 255)
    )
