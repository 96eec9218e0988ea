from __future__ import annotations

from pathlib import Path

import composer_match_colours
import numpy as np
import pytest
from composer_match_colours import MatchColours
from PIL import Image

import composer
from composer import ComposerError
from composer.testing.conformance import ToolTests

CONF = Path(composer_match_colours.__file__).parent / "conf" / "tool"


class TestMatchColours(ToolTests):
    option = CONF / "match_colours.yaml"

    def make(self):
        return MatchColours(strength=0.5)


def noise(mean, spread):
    pixels = np.random.default_rng(0).normal(mean, spread, (64, 64, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def test_the_colours_are_those_of_the_reference():
    image, reference = noise(80, 10), noise(150, 20)
    result = np.asarray(MatchColours().run({"image": image, "reference": reference}, "cpu"), float)
    assert np.abs(result.mean((0, 1)) - np.asarray(reference, float).mean((0, 1))).max() < 4
    assert np.abs(result.std((0, 1)) - np.asarray(reference, float).std((0, 1))).max() < 4


def test_no_strength_and_one_colour_change_what_they_must():
    image, flat = noise(80, 10), Image.new("RGB", (8, 8), (10, 20, 30))
    assert MatchColours(strength=0.0).run({"image": image, "reference": flat}, "cpu").tobytes() == image.tobytes()
    result = np.asarray(MatchColours().run({"image": flat, "reference": image}, "cpu"))
    assert np.ptp(result.reshape(-1, 3), axis=0).max() == 0


def test_it_is_a_step_of_a_recipe(tmp_path):
    size = "height: 64, width: 64, steps: 2"
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "even.yaml").write_text(
        f"# Even.\nsteps:\n  scene: {{task: text2img, {size}}}\n  other: {{task: text2img, seed: 1, {size}}}\n"
        "  even: {tool: match_colours, image: 'step:other', reference: 'step:scene', strength: 0.8}\n"
    )
    words = ("recipe=even", "recipe.reuse=false")
    result = composer.compose(*words, config_dir=str(tmp_path))
    steps = {"image": result.steps["other"].image, "reference": result.steps["scene"].image}
    assert result.image.tobytes() == MatchColours(strength=0.8).run(steps, "cpu").tobytes()
    even = result.record["recipe"]["steps"]["even"]["record"]
    assert even["choices"][0]["provider"] == "composer-match-colours 0.1.0"
    with pytest.raises(ComposerError, match=r"even\.strength=2: must be"):
        composer.check(*words, "even.strength=2", config_dir=str(tmp_path))
