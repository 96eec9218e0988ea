"""The embedded flow model generates and edits as prompted; `benchmarks/edits.py` measures how often."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiers import slow_but

import composer
from composer.checkpoints.sources import EMBEDDED
from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read

BEFORE = "a large red sphere on the left and a large blue cube on the right, on snow"
CHANNEL = {"red": 0, "green": 1, "blue": 2}
LEFT, RIGHT = slice(0, 64), slice(64, 128)


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("flow") / "before.png"
    composer.compose(prompt=BEFORE, seed=1, callbacks=[]).image.save(path)
    return str(path)


def fraction(image: np.ndarray, half: slice, colour: str) -> float:
    """Fraction of a half's pixels in which a colour clearly leads."""
    channel, part = CHANNEL[colour], image[40:, half]
    return float((part[..., channel] > np.delete(part, channel, axis=-1).max(-1) + 50).mean())


def edited(before: str, instruction: str, *words: str) -> np.ndarray:
    result = composer.compose(
        "model=tiny_flow", "task=edit", f"references=[{before}]", "callbacks=[]", *words, prompt=instruction
    )
    return np.asarray(result.image, int)


@pytest.mark.parametrize(
    ("instruction", "left", "right"),
    slow_but(
        [("change the cube to a green cone", "red", "green"), ("remove the cube", "red", None)],
        [
            ("remove the cube", "red", None),
            ("remove the sphere", None, "blue"),
            ("make the cube red", "red", "red"),
            ("change the cube to a green cone", "red", "green"),
        ],
    ),
)
def test_an_edit_does_what_it_says_and_leaves_the_rest(before, instruction, left, right):
    image = edited(before, instruction)
    for half, shown in ((LEFT, left), (RIGHT, right)):
        for colour in CHANNEL:
            if colour == shown:
                assert fraction(image, half, colour) > 0.05
            else:
                assert fraction(image, half, colour) < 0.02


def test_it_generates_from_a_prompt_too():
    result = composer.compose("model=tiny_flow", "callbacks=[]", "seed=1", prompt=BEFORE)
    image = np.asarray(result.image, int)
    assert image.shape == (128, 128, 3)
    assert fraction(image, LEFT, "red") > 0.05 and fraction(image, RIGHT, "blue") > 0.05


def test_large_references_are_scaled_to_the_size_that_it_generates_best(before, tmp_path):
    from PIL import Image

    large = tmp_path / "large.png"
    Image.open(before).resize((512, 384)).save(large)
    result = composer.compose(
        "model=tiny_flow", "task=edit", f"references={large}", "steps=1", "callbacks=[]", prompt="remove the cube"
    )
    assert result.image.size == (144, 96)
    assert any(note.startswith("references: scaled from 512 × 384 to 147 × 110") for note in result.notes)


def test_edits_have_a_guidance_scale_of_their_own(before):
    scales = [
        check(read(compose_config(["model=tiny_flow", *words]))).spec.guidance.keywords["scale"]
        for words in ([], ["task=edit", f"references=[{before}]"])
    ]
    assert scales == [4.0, 2.0]


@pytest.mark.slow
def test_a_mask_keeps_the_rest_byte_exact(before, tmp_path):
    from PIL import Image

    mask = Image.new("L", (128, 128))
    mask.paste(255, (0, 40, 64, 128))
    mask.save(tmp_path / "mask.png")
    image = edited(before, "make the sphere green", "seed=1", f"mask={tmp_path / 'mask.png'}")
    was = np.asarray(Image.open(before), int)
    assert (image[:, 64:] == was[:, 64:]).all() and fraction(image, LEFT, "green") > 0.05


def test_its_files_fit_into_12_megabytes():
    files = [path for path in Path(EMBEDDED, "flow").rglob("*") if path.is_file()]
    assert 10e6 < sum(path.stat().st_size for path in files) < 12e6
