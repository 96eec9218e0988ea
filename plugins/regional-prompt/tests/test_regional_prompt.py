from __future__ import annotations

import numpy as np
import pytest
from composer_regional_prompt import RegionalPrompt
from PIL import Image

import composer
from composer import ComposerError
from composer.testing.conformance import CallbackTests, same
from composer.testing.runs import PROMPTS, run

FAMILIES = ("sd", "sdxl", "sd3", "flux")
ALL = (0, 0, 1, 1)


class TestRegionalPrompt(CallbackTests):
    families = FAMILIES

    def make(self):
        return RegionalPrompt("a dog", box=(0.5, 0, 1, 1), feather=0.2)


class TestTheSamePromptInside(CallbackTests):
    """Changes nothing, to the bit. (Where all images of a batch have one prompt, so only for batches of one.)"""

    families = FAMILIES

    def make(self):
        return RegionalPrompt(PROMPTS[0], box=(0.2, 0.2, 0.8, 0.8))

    @pytest.mark.parametrize("family", FAMILIES)
    def test_is_neutral(self, family):
        assert same(run(family, {"it": self.make()}), run(family, {}))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_region_of_everything_is_the_other_prompt(family):
    everywhere = run(family, {"it": RegionalPrompt(PROMPTS[0], box=ALL)}, batch=1)
    assert same(everywhere, run(family, {}))
    assert not same(run(family, {"it": RegionalPrompt("a dog", box=ALL)}), run(family, {}))


def test_only_the_steps_between_first_and_last():
    assert same(
        run("sd", {"it": RegionalPrompt("a dog", box=ALL, first=0.5, last=0.5)}, steps=4), run("sd", {}, steps=4)
    )


def test_a_mask_from_a_file(tmp_path):
    Image.fromarray(np.uint8([[0, 255]])).resize((64, 64), Image.Resampling.NEAREST).save(tmp_path / "mask.png")
    generated = run("sd", {"it": RegionalPrompt("a dog", box=(0.5, 0, 1, 1))})
    read = run("sd", {"it": RegionalPrompt("a dog", mask=str(tmp_path / "mask.png"))})
    assert same(generated, read)


def test_with_the_checkpoint_that_comes_along():
    """Both halves show what their prompts name."""
    image = composer.compose(
        prompt="a large red sphere on the left, on grass, at noon", seed=3,
        callbacks=[RegionalPrompt("a large blue cube on the right, on grass, at noon", box=(0.5, 0, 1, 1))],
    ).image  # fmt: skip
    pixels = np.asarray(image, np.float32)
    red, green, blue = (pixels[..., i] for i in range(3))
    reddish, bluish = (red > 1.6 * blue) & (red > 1.6 * green), (blue > 1.6 * red) & (blue > 1.3 * green)
    middle = image.width // 2
    assert reddish[:, :middle].mean() > 0.05 > reddish[:, middle:].mean()
    assert bluish[40:, middle:].mean() > 0.05 > bluish[40:, :middle].mean()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "callbacks.regional_prompt: needs a region"),
        ({"box": ALL, "mask": "x.png"}, "and not both"),
        (
            {"box": (0.5, 0, 0.5, 1)},
            r"callbacks.regional_prompt.box=\(0.5, 0, 0.5, 1\): must be \[left,top,right,bottom\]",
        ),
        ({"box": ALL, "feather": 2}, "callbacks.regional_prompt.feather=2: must be a number from 0 to 1"),
        ({"mask": "nowhere.png"}, "callbacks.regional_prompt.mask=nowhere.png: can't be read: No such file"),
        ({"box": (0, 0, 0.001, 0.001)}, "the region is empty"),
    ],
)
def test_impossible_settings_are_refused_in_a_line(settings, message):
    with pytest.raises(ComposerError, match=message):
        run("sd", {"it": RegionalPrompt("a dog", **settings)})
