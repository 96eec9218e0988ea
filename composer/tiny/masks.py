"""Masks to learn inpainting from, each with words for what belongs there.

Over a thing, over an empty position (a gap), anywhere, around an image (outpainting), and over all of it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from composer.tiny.captions import caption, phrase
from composer.tiny.render import box
from composer.tiny.scenes import POSITIONS, Scene, Thing, make_thing

#: Probability of each kind.
KINDS = {"thing": 0.45, "gap": 0.2, "anywhere": 0.1, "around": 0.15, "all": 0.1}
#: Most that a mask reaches beyond a thing's box, as a fraction of the image's side: left, top, right (where its shadow
#: falls), bottom.
BEYOND = (0.1, 0.1, 0.2, 0.1)


def masked(scene: Scene, size: int, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Sample a mask and words for what belongs there.

    Args:
        scene: The scene that the image shows.
        size: Pixels of the image's side.
        rng: Source of all choices.

    Returns:
        The mask, (size, size) bool, true where the image is repainted, and a caption.
    """
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    if kind == "thing" and scene.things:
        return over_thing(scene, size, rng)
    if kind == "gap" and len(scene.things) < 2:
        return over_gap(scene, size, rng)
    return {"around": around, "all": everything}.get(kind, anywhere)(size, rng), caption(scene, rng)[0]


def over_thing(scene: Scene, size: int, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Cover one thing.

    Args:
        scene: The scene that the image shows; it has at least one thing.
        size: Pixels of the image's side.
        rng: Source of all choices.

    Returns:
        The mask, and words for the thing alone, with or without its surroundings, or for the complete scene.
    """
    thing = scene.things[int(rng.integers(len(scene.things)))]
    words = rng.random()
    described = replace(scene, things=(thing,)) if words < 0.75 else scene
    text = (
        phrase(thing, rng) if words < 0.5 else caption(described, rng)[0]
    )  # before the mask: the stored weights were made in this order
    return _over(thing, size, rng), text


def over_gap(scene: Scene, size: int, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Cover a position where there is nothing.

    Args:
        scene: The scene that the image shows.
        size: Pixels of the image's side.
        rng: Source of all choices.

    Returns:
        The mask, and words for the scene without its things.
    """
    used = {thing.position for thing in scene.things}
    free = [position for position in POSITIONS if position not in used and not (used and "center" in (position, *used))]
    if not free:  # a thing in the center reaches into both other positions
        return anywhere(size, rng), caption(scene, rng)[0]
    covered = make_thing(rng, "red", "cube", str(rng.choice(["small", "medium", "large"])), str(rng.choice(free)))
    return _over(covered, size, rng), caption(replace(scene, things=()), rng)[0]


def anywhere(size: int, rng: np.random.Generator) -> np.ndarray:
    """Cover a random rectangle or ellipse.

    Args:
        size: Pixels of the image's side.
        rng: Source of all choices.

    Returns:
        The mask, (size, size) bool.
    """
    low, high = np.sort(rng.uniform(0, 1, (2, 2)), axis=0)
    middle, half = (low + high) / 2, np.maximum((high - low) / 2, 0.06)
    return _shape(size, rng, middle - half, middle + half)


def around(size: int, rng: np.random.Generator) -> np.ndarray:
    """Cover all but a rectangle, as for outpainting.

    Args:
        size: Pixels of the image's side.
        rng: Source of all choices.

    Returns:
        The mask, (size, size) bool.
    """
    sides = rng.uniform(0.3, 0.85, 2)
    at = rng.uniform(0, 1 - sides)
    return ~_rectangle(size, at, at + sides)


def everything(size: int, rng: np.random.Generator) -> np.ndarray:
    """Cover the complete image.

    Args:
        size: Pixels of the image's side.
        rng: Not used; the same signature as the others.

    Returns:
        The mask, (size, size) bool.
    """
    return np.ones((size, size), bool)


def _over(thing: Thing, size: int, rng: np.random.Generator) -> np.ndarray:
    rows, cols = box(thing, size)
    left, top, right, bottom = rng.uniform(0, BEYOND) * size
    low = np.array([rows.start - top, cols.start - left]) / size
    high = np.array([rows.stop + bottom, cols.stop + right]) / size
    return _shape(size, rng, low, high)


def _shape(size: int, rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """A rectangle from (row, column) to (row, column) in 0–1, or the ellipse around it."""
    if rng.random() < 0.7:
        return _rectangle(size, low, high)
    middle, half = (low + high) / 2, (high - low) / 2 * 1.25
    at = (np.arange(size) + 0.5) / size
    return ((at[:, None] - middle[0]) / half[0]) ** 2 + ((at[None] - middle[1]) / half[1]) ** 2 < 1


def _rectangle(size: int, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    at = (np.arange(size) + 0.5) / size
    return ((at >= low[0]) & (at < high[0]))[:, None] & ((at >= low[1]) & (at < high[1]))[None]
