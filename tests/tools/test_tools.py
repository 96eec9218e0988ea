"""The built-in tools: the kit's tests, and what each makes."""

from __future__ import annotations

import pytest
from PIL import Image

from composer.config.search_path import packaged_conf
from composer.errors import ComposerError
from composer.testing.conformance import ToolTests
from composer.tools.box import BoxMask, Crop, Paste
from composer.tools.preprocessor import Edges
from composer.tools.resize import Resize

CONF = packaged_conf() / "tool"


class TestResize(ToolTests):
    option = CONF / "resize.yaml"

    def make(self):
        return Resize(factor=1.7)


class TestCrop(ToolTests):
    option = CONF / "crop.yaml"

    def make(self):
        return Crop(box=(0.1, 0.2, 0.5, 0.9))


class TestBoxMask(ToolTests):
    option = CONF / "box_mask.yaml"

    def make(self):
        return BoxMask(blur=1.0)


class TestPaste(ToolTests):
    option = CONF / "paste.yaml"

    def make(self):
        return Paste()


class TestEdges(ToolTests):
    option = CONF / "edges.yaml"

    def make(self):
        return Edges()


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({}, (20, 10)),
        ({"factor": 0.5}, (5, 2)),
        ({"factor": None, "width": 40}, (40, 20)),
        ({"factor": None, "height": 15}, (30, 15)),
        ({"width": 7, "height": 9}, (7, 9)),
    ],
)
def test_resize_computes_the_size(settings, size):
    tool = Resize(**settings)
    assert tool.size(10, 5) == size == tool.run({"image": Image.new("RGB", (10, 5))}, "cpu").size


def test_settings_without_meaning_are_refused():
    for make in (
        lambda: Resize(factor=None),
        lambda: Resize(factor=100.0).size(1000, 1000),
        lambda: Crop(box=(0.5, 0.0, 0.5, 1.0)),
        lambda: BoxMask(box=(0.0, 0.9, 1.0, 0.1)),
        lambda: BoxMask(box=[[0.0, 0.1, 0.2, 0.3], [0.0, 0.9, 1.0, 0.1]]),
    ):
        with pytest.raises(ComposerError):
            make()


def test_a_patch_fills_exactly_its_box():
    image, patch = Image.new("RGB", (40, 40)), Image.new("RGB", (3, 3), "white")
    result = Paste(box=(0.25, 0.5, 0.75, 1.0)).run({"image": image, "patch": patch}, "cpu")
    assert result.getbbox() == (10, 20, 30, 40) and image.getbbox() is None
    mask = BoxMask(box=(0.25, 0.5, 0.75, 1.0)).run({"image": image}, "cpu")
    assert mask.getbbox() == (10, 20, 30, 40) and mask.getextrema() == (0, 255)
    several = BoxMask(box=[[0.0, 0.0, 0.25, 0.5], [0.5, 0.5, 1.0, 1.0]]).run({"image": image}, "cpu")
    assert several.histogram()[255] == 10 * 20 + 20 * 20 and several.getbbox() == (0, 0, 40, 40)
