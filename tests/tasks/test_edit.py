"""Edits under a mask: what is not masked stays as it is to the byte, on every family that edits."""

from __future__ import annotations

import numpy as np
import pytest
from flow_cases import EDITS
from runs import image, mask, ours
from test_flow_families import family_of
from tiers import slow_but
from zoo import ZOO

from composer.sampling.guidance import ClassifierFree
from composer.tasks.edit import Edit

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", slow_but(["flux", "flux2"], EDITS))
def test_pixels_outside_the_mask_are_those_of_the_first_image(name, monkeypatch):
    case = EDITS[name]
    family = family_of(case.family or name, ZOO[case.zoo].make())
    if hasattr(family, "reference_size"):  # Kontext's megapixel
        monkeypatch.setattr(type(family), "reference_size", lambda self, image: (image.height, image.width))
    references = tuple(image(side, seed) for seed, side in enumerate(case.sides[-1]))
    first, white = references[0].resize((case.size, case.size)), mask(case.size)
    inputs = {"references": (references,), "kept": (first,), "mask": (white,), "blur": 0}
    guidance, original, outside = ClassifierFree(1.0), np.array(first), np.array(white) == 0
    results = [
        np.array(ours(family, "default", guidance, 1, case.size, Edit(), steps=2, keep_unmasked=keep, **inputs)[1][0])
        for keep in (True, False)
    ]
    assert outside.any() and (results[0][outside] == original[outside]).all()
    assert (results[0][~outside] != original[~outside]).any(), "the rest is repainted"
    assert (results[1][outside] != original[outside]).any(), "else it passes through the VAE"
