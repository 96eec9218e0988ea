"""Tools about masks: what is cut out by a mask and put back."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from composer.config.search_path import packaged_conf
from composer.errors import ComposerError
from composer.images.reading import read_image
from composer.testing.conformance import ToolTests
from composer.tools.masks import CropToMask, CutOut, PasteToMask, Threshold, box_around, region_of

CONF = packaged_conf() / "tool"


class TestThreshold(ToolTests):
    option = CONF / "threshold.yaml"

    def make(self):
        return Threshold(low=0.3, grow=2, blur=1.0)


class TestCropToMask(ToolTests):
    option = CONF / "crop_to_mask.yaml"

    def make(self):
        return CropToMask(width=40, height=24)


class TestPasteToMask(ToolTests):
    option = CONF / "paste_to_mask.yaml"

    def make(self):
        return PasteToMask()


class TestCutOut(ToolTests):
    option = CONF / "cut_out.yaml"

    def make(self):
        return CutOut()


def mask_of(size, *boxes):
    mask = Image.new("L", size, 0)
    for box in boxes:
        mask.paste(255, box)
    return mask.convert("RGB")


@pytest.mark.parametrize("size", [(100, 80), (33, 57)])
@pytest.mark.parametrize("aspect", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("padding", [0.0, 0.25, 3.0])
@pytest.mark.parametrize("box", [(10, 10, 20, 30), (0, 0, 1, 1), (30, 50, 33, 57), (0, 20, 33, 25)])
def test_a_box_holds_what_is_marked_inside_of_the_image(size, aspect, padding, box):
    mask = mask_of(size, box).convert("L")
    left, top, right, bottom = box_around(mask, padding, aspect)
    assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
    marked = mask.getbbox()
    assert left <= marked[0] and top <= marked[1] and right >= marked[2] and bottom >= marked[3]
    if right - left < size[0] and bottom - top < size[1]:
        assert abs((right - left) - aspect * (bottom - top)) <= 1 + aspect


def test_what_is_cut_out_goes_back_where_it_was():
    """Nothing changed in between changes nothing but by scaling; outside of the mask every byte stays."""
    image, mask = read_image("image", "sample:scene").resize((96, 96)), mask_of((96, 96), (30, 40, 50, 60))
    part = CropToMask(width=112, height=112, padding=0.4).run({"image": image, "mask": mask}, "cpu")
    again = PasteToMask(padding=0.4, grow=2).run({"image": image, "patch": part, "mask": mask}, "cpu")
    assert np.abs(np.asarray(again, int) - np.asarray(image, int)).max() <= 12
    red = PasteToMask(padding=0.4, grow=2, feather=0.0).run(
        {"image": image, "patch": Image.new("RGB", (112, 112), "red"), "mask": mask}, "cpu"
    )
    changed = np.any(np.asarray(red) != np.asarray(image), axis=-1)
    assert np.all(np.asarray(red)[38:62, 28:52] == (255, 0, 0)) and changed.sum() <= 24 * 24


def test_a_patch_fades_in_inside_of_what_was_cut_out():
    image, mask = Image.new("RGB", (96, 96)), mask_of((96, 96), (30, 40, 50, 60))
    patch = Image.new("RGB", (64, 64), "white")
    result = PasteToMask(padding=0.0, grow=8, feather=4.0).run({"image": image, "patch": patch, "mask": mask}, "cpu")
    gray = np.asarray(result.convert("L"), int)
    assert gray[50, 40] == 255 and result.getbbox() == (30, 40, 50, 60) and 0 < gray[40, 40] < 128


def test_regions_of_a_mask_are_by_size_and_their_grays_stay():
    mask = mask_of((60, 40), (2, 2, 8, 8), (20, 5, 40, 25), (40, 25, 44, 30), (50, 2, 56, 8)).convert("L")
    mask.putpixel((3, 3), 200)  # a gray that counts as white
    mask.putpixel((50, 20), 100)  # one that counts as black
    boxes = [region_of(mask, number).getbbox() for number in (1, 2, 3, 4)]
    assert boxes == [(20, 5, 44, 30), (2, 2, 8, 8), (50, 2, 56, 8), None], "corners that touch, and the order of ties"
    assert region_of(mask, 2).getpixel((3, 3)) == 200 and region_of(mask, None) is mask


def test_one_region_is_cut_out_and_put_back():
    image, mask = Image.new("RGB", (96, 96)), mask_of((96, 96), (8, 8, 24, 24), (48, 48, 80, 80))
    inputs = {"image": image, "mask": mask, "patch": Image.new("RGB", (64, 64), "white")}
    marked = {**inputs, "image": mask}
    for region, box in ((1, (48, 48, 80, 80)), (2, (8, 8, 24, 24)), (3, None)):
        part = CropToMask(width=64, height=64, padding=0.0, region=region).run(marked, "cpu")
        assert (np.asarray(part)[1:-1, 1:-1].mean() > 250) == (box is not None), "white alone, or all of the image"
        settings = {"padding": 0.0, "grow": 0, "feather": 0.0, "region": region}
        assert PasteToMask(**settings).run(inputs, "cpu").getbbox() == box


def test_where_nothing_is_marked_nothing_changes():
    image, mask = read_image("image", "sample:scene"), mask_of(read_image("image", "sample:scene").size)
    patch = Image.new("RGB", (64, 64), "white")
    assert PasteToMask().run({"image": image, "patch": patch, "mask": mask}, "cpu").tobytes() == image.tobytes()
    part = CropToMask(width=64, height=64).run({"image": image, "mask": mask}, "cpu")
    assert part.tobytes() == image.resize((64, 64), Image.Resampling.LANCZOS).tobytes()


def test_a_threshold_selects_a_range_and_grows():
    image = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (3, 1))).convert("RGB")
    white = np.asarray(Threshold(low=0.2, high=0.4).run({"image": image}, "cpu"))[1] == 255
    assert np.flatnonzero(white).tolist() == [*range(51, 103)]
    grown = np.asarray(Threshold(low=0.2, high=0.4, grow=3).run({"image": image}, "cpu"))[1] == 255
    assert np.flatnonzero(grown).tolist() == [*range(48, 106)]
    with pytest.raises(ComposerError, match=r"tool\.low=0\.6: must be at most tool\.high=0\.5"):
        Threshold(low=0.6, high=0.5)


def test_what_is_not_marked_is_transparent():
    image, mask = read_image("image", "sample:scene").resize((40, 40)), mask_of((20, 20), (5, 5, 15, 15))
    result = CutOut().run({"image": image, "mask": mask}, "cpu")
    alpha = np.asarray(result.getchannel("A"))
    assert result.mode == "RGBA" and alpha[20, 20] == 255 and alpha[2, 2] == 0
    assert result.convert("RGB").tobytes() == image.tobytes()
    inverted = CutOut(invert=True).run({"image": image, "mask": mask}, "cpu")
    assert np.array_equal(np.asarray(inverted.getchannel("A")), 255 - alpha)
