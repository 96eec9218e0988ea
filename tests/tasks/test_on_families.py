"""Tasks that begin with an image, on the families of flow transformers: each runs through the configuration."""

from __future__ import annotations

import numpy as np
import pytest
from callback_matrix import FAMILIES, source
from tiers import slow_but

import composer

pytestmark = pytest.mark.usefixtures("one_thread")
IMAGES = ("flux", "flux2", "z_image", "qwen_image", "chroma", "sana", "lumina2")
#: Task → its words, and the side of its result in pixels.
TASKS: dict[str, tuple[tuple[str, ...], int]] = {
    "img2img": (("strength=0.6",), 32), "inpaint": (("mask=sample:mask",), 32),
    "outpaint": (("margins=[0,0,16,0]",), 32),
    "variations": (("strength=0.6",), 32), "upscale": (("factor=2", "strength=0.6"), 64),
}  # fmt: skip


@pytest.mark.parametrize("family", slow_but(["z_image"], IMAGES))
def test_tasks_from_an_image_run(family):
    name, _ = FAMILIES[family]
    results = {}
    for task, (words, side) in TASKS.items():
        size = ("height=32", "width=32", "image=sample:scene")
        result = composer.compose(
            f"task={task}", "model=local", f"model.source={source(name)}", "steps=2", *size, *words
        )
        assert result.image.size == (side, side), task
        results[task] = np.array(result.image.resize((32, 32)))
    assert len({array.tobytes() for array in results.values()}) == len(TASKS), "each does what another one does not"
