"""What can be seen in the world of the embedded checkpoint: things, colours, places, grounds and skies.

A scene is a plain description; `render.py` draws it and `captions.py` puts it into words. Lengths are in metres, the
camera stands at the origin of x and z and looks along +z.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
SHAPES = ("sphere", "cube", "cylinder", "cone")
SIZES = ("small", "medium", "large")
PLACES = ("left", "center", "right")
GROUNDS = ("grass", "sand", "snow", "stone")
SKIES = ("clear", "cloudy", "sunset", "night")

#: Pairs that no training picture shows, so that a score on them measures composition and not memory.
HELD_OUT = frozenset(
    {
        ("red", "cone"),
        ("blue", "cylinder"),
        ("green", "cube"),
        ("yellow", "sphere"),
        ("purple", "cylinder"),
        ("white", "cone"),
    }
)

#: Radius of a thing's bounding circle, by the word for its size. The gaps keep the words apart.
RADII = {"small": (0.47, 0.54), "medium": (0.66, 0.74), "large": (0.90, 0.99)}
#: Where on the picture a thing stands, as the tangent of the angle from the middle.
OFFSETS = {"left": -0.34, "center": 0.0, "right": 0.34}


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One solid standing on the ground, its foot at (x, 0, z); `yaw` in radians, `tint` added to its RGB (0–1)."""

    colour: str
    shape: str
    size: str
    place: str
    x: float
    z: float
    radius: float
    yaw: float
    tint: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Up to two things on a ground under a sky; `light` is the sun's slope along x, `seed` drives the textures."""

    things: tuple[Thing, ...]
    ground: str
    sky: str
    light: float
    seed: int


def sample_scene(rng: np.random.Generator, pairs: str = "seen", count: int | None = None) -> Scene:
    """Draw a scene at random.

    Args:
        rng: the only source of randomness.
        pairs: `seen` leaves out the colour × shape pairs of `HELD_OUT`, `held_out` uses nothing else, `any` all.
        count: how many things; by default none, one or two in the proportions of the training set.
    """
    if count is None:
        count = int(rng.choice([0, 1, 2], p=[0.04, 0.42, 0.54]))
    places = ("left", "right") if count == 2 else (str(rng.choice(PLACES, p=[0.27, 0.46, 0.27])),) * count
    return Scene(
        things=tuple(make_thing(rng, *_pair(rng, pairs), str(rng.choice(SIZES)), place) for place in places),
        ground=str(rng.choice(GROUNDS)),
        sky=str(rng.choice(SKIES)),
        light=float(rng.uniform(-0.7, -0.3)),
        seed=int(rng.integers(1 << 30)),
    )


def make_thing(rng: np.random.Generator, colour: str, shape: str, size: str, place: str) -> Thing:
    """Put a thing at its place, with the small differences that no caption mentions."""
    z = float(rng.uniform(3.1, 3.7))
    low, high = RADII[size]
    slope = OFFSETS[place] + float(rng.uniform(-0.04, 0.04))
    return Thing(
        colour=colour,
        shape=shape,
        size=size,
        place=place,
        x=slope * z,
        z=z,
        radius=float(rng.uniform(low, high)) * z / 3.4,
        yaw=float(rng.uniform(0.45, 0.90)) - float(np.arctan(slope)),  # seen from the camera: two faces of every cube
        tint=tuple(float(v) for v in rng.uniform(-0.04, 0.04, 3)),
    )


def _pair(rng: np.random.Generator, pairs: str) -> tuple[str, str]:
    while True:
        pair = str(rng.choice(COLOURS)), str(rng.choice(SHAPES))
        if pairs == "any" or (pair in HELD_OUT) == (pairs == "held_out"):
            return pair
