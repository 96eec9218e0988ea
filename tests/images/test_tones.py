"""Tones of a generated region meet those of the image around it; nothing outside of the region changes."""

from __future__ import annotations

import numpy as np
from PIL import Image

from composer.images.tones import MOST, match_tones

SIDE = 64


def scene(offset: int = 0) -> np.ndarray:
    """A gradient with a texture of two levels."""
    rows, columns = np.indices((SIDE, SIDE))
    plane = 60 + rows + columns // 2 + 3 * (columns % 2) + offset
    return np.stack([plane, plane + 10, plane - 10], -1).astype(np.uint8)


def masked(margin: int = 16) -> np.ndarray:
    inside = np.full((SIDE, SIDE), 255, np.uint8)
    inside[margin:-margin, margin:-margin] = 0
    return inside


def matched(generated: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.asarray(match_tones(*map(Image.fromarray, (scene(), generated, mask))), int)


def test_a_step_of_tone_goes_where_the_image_begins_and_is_left_far_away():
    mask = masked()
    result = matched(scene(12), mask) - scene()
    beside = (mask > 0) & (np.roll(mask, 1, 0) == 0) | (mask > 0) & (np.roll(mask, 1, 1) == 0)
    assert np.abs(result[beside]).mean() < 3 < 7 < np.abs(result[0, 0]).mean() <= 12


def test_details_stay():
    generated, mask = scene(12), masked()
    result = matched(generated, mask)
    far = np.s_[:8, :]
    assert np.abs(np.diff(result[far], axis=1) - np.diff(generated[far].astype(int), axis=1)).max() <= 2


def test_pixels_outside_of_the_region_are_those_given():
    generated, mask = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8), masked()
    assert (matched(generated, mask)[mask == 0] == generated[mask == 0]).all()


def test_other_content_shifts_by_no_more_than_a_tone():
    generated = np.full((SIDE, SIDE, 3), 250, np.uint8)
    assert (250 - matched(generated, masked())).max() <= MOST


def test_a_mask_of_everything_or_nothing_changes_nothing():
    generated = scene(12)
    for value in (0, 255):
        assert (matched(generated, np.full((SIDE, SIDE), value, np.uint8)) == generated).all()


def test_odd_sides():
    generated, mask = scene(12)[:37, :51], masked()[:37, :51]
    result = match_tones(*map(Image.fromarray, (scene()[:37, :51], generated, mask)))
    assert result.size == (51, 37)
