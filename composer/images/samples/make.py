"""Generate the sample images, the same at each run: `python -m composer.images.samples.make`."""

from __future__ import annotations

import numpy as np
from PIL import Image

from composer.images.samples import path
from composer.tiny.render import Rendering, render
from composer.tiny.scenes import Scene, make_thing

SIZE = 512
#: Pixels between the cube and the edge of its mask; twice as many above it, so that a taller thing fits.
MARGIN = 40


def make_samples() -> dict[str, Image.Image]:
    """Generate the sample images.

    Returns:
        `scene` (RGB, 512 × 512), `detail` (its middle, 256 × 256) and `mask` (L, white around the cube).
    """
    rng = np.random.default_rng(8)
    things = make_thing(rng, "red", "sphere", "large", "left"), make_thing(rng, "blue", "cube", "small", "right")
    rendering = render(Scene(things=things, ground="grass", sky="clear", light=-0.45, seed=8), SIZE)
    scene = Image.fromarray(rendering.image)
    near, far = SIZE // 4, SIZE - SIZE // 4
    return {"scene": scene, "detail": scene.crop((near, near, far, far)), "mask": _mask(rendering)}


def _mask(rendering: Rendering) -> Image.Image:
    rows, columns = np.nonzero(rendering.masks[1])
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[rows.min() - 2 * MARGIN : rows.max() + MARGIN, columns.min() - MARGIN : columns.max() + MARGIN] = 255
    return Image.fromarray(mask)


if __name__ == "__main__":
    for name, image in make_samples().items():
        image.save(path(name), optimize=True)
