"""Masks to learn inpainting from, each with words for what belongs there.

Over a thing, over an empty place, anywhere, around a picture (outpainting), and over all of it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from composer.tiny.captions import caption, phrase
from composer.tiny.render import box
from composer.tiny.scenes import PLACES, Scene, make_thing

#: How often each kind is drawn.
KINDS = {"thing": 0.45, "place": 0.2, "anywhere": 0.1, "around": 0.15, "all": 0.1}
#: Most that a mask reaches beyond a thing's box, as a part of the picture's side: left, top, right (where its shadow
#: falls), bottom.
BEYOND = (0.1, 0.1, 0.2, 0.1)


def masked(scene: Scene, size: int, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """A mask (size, size) of bool, true where it is repainted, and a caption."""
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    if kind == "thing" and scene.things:
        return over_thing(scene, size, rng)
    if kind == "place" and len(scene.things) < 2:
        return over_place(scene, size, rng)
    return {"around": around, "all": everything}.get(kind, anywhere)(size, rng), caption(scene, rng)[0]


def over_thing(scene: Scene, size: int, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """One thing covered; the words are for it alone, with or without its surroundings, or for the whole scene."""
    thing = scene.things[int(rng.integers(len(scene.things)))]
    words = rng.random()
    told = replace(scene, things=(thing,)) if words < 0.75 else scene
    text = (
        phrase(thing, rng) if words < 0.5 else caption(told, rng)[0]
    )  # before the mask: the stored weights were made in this order
    return _over(thing, size, rng), text


def over_place(scene: Scene, size: int, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """A place where nothing stands; the words say so."""
    used = {thing.place for thing in scene.things}
    free = [place for place in PLACES if place not in used and not (used and "center" in (place, *used))]
    if not free:  # a thing in the center reaches into both other places
        return anywhere(size, rng), caption(scene, rng)[0]
    stand_in = make_thing(rng, "red", "cube", str(rng.choice(["small", "medium", "large"])), str(rng.choice(free)))
    return _over(stand_in, size, rng), caption(replace(scene, things=()), rng)[0]


def anywhere(size: int, rng: np.random.Generator) -> np.ndarray:
    low, high = np.sort(rng.uniform(0, 1, (2, 2)), axis=0)
    middle, half = (low + high) / 2, np.maximum((high - low) / 2, 0.06)
    return _shape(size, rng, middle - half, middle + half)


def around(size: int, rng: np.random.Generator) -> np.ndarray:
    """All but a rectangle that is kept."""
    sides = rng.uniform(0.3, 0.85, 2)
    at = rng.uniform(0, 1 - sides)
    return ~_rectangle(size, at, at + sides)


def everything(size: int, rng: np.random.Generator) -> np.ndarray:
    return np.ones((size, size), bool)


def _over(thing, size: int, rng: np.random.Generator) -> np.ndarray:
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
