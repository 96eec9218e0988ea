"""The world of the embedded checkpoint: things, colours, positions, grounds and skies.

A scene is a plain description; `render.py` renders it and `captions.py` puts it into words. Lengths are in metres, the
camera is at the origin of x and z and looks along +z.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
SHAPES = ("sphere", "cube", "cylinder", "cone")
SIZES = ("small", "medium", "large")
POSITIONS = ("left", "center", "right")
GROUNDS = ("grass", "sand", "snow", "stone")
SKIES = ("clear", "cloudy", "sunset", "night")

#: Pairs that no training image shows, so that a score on them measures composition and not memory.
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
#: Position of a thing in the image, as the tangent of the angle from the middle.
OFFSETS = {"left": -0.34, "center": 0.0, "right": 0.34}


@dataclass(frozen=True, kw_only=True)
class Thing:
    """A solid on the ground.

    Attributes:
        colour: One of `COLOURS`.
        shape: One of `SHAPES`.
        size: One of `SIZES`.
        position: One of `POSITIONS`.
        x: Coordinate of its foot to the right, in metres.
        z: Distance of its foot from the camera, in metres.
        radius: Radius of its bounding circle, in metres.
        yaw: Rotation about the vertical axis, in radians.
        tint: Added to its RGB colour in [0, 1].
    """

    colour: str
    shape: str
    size: str
    position: str
    x: float
    z: float
    radius: float
    yaw: float
    tint: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Up to two things on a ground under a sky.

    Attributes:
        things: The things, from left to right.
        ground: One of `GROUNDS`.
        sky: One of `SKIES`.
        light: Slope of the sunlight along x.
        seed: Seed of the textures.
    """

    things: tuple[Thing, ...]
    ground: str
    sky: str
    light: float
    seed: int


def sample_scene(rng: np.random.Generator, pairs: str = "seen", count: int | None = None) -> Scene:
    """Sample a scene.

    Args:
        rng: The only source of randomness.
        pairs: `seen` omits the colour × shape pairs of `HELD_OUT`, `held_out` uses nothing else, `any` all.
        count: Number of things; by default none, one or two in the proportions of the training set.

    Returns:
        The scene.
    """
    if count is None:
        count = int(rng.choice([0, 1, 2], p=[0.04, 0.42, 0.54]))
    positions = ("left", "right") if count == 2 else (str(rng.choice(POSITIONS, p=[0.27, 0.46, 0.27])),) * count
    return Scene(
        things=tuple(make_thing(rng, *_pair(rng, pairs), str(rng.choice(SIZES)), position) for position in positions),
        ground=str(rng.choice(GROUNDS)),
        sky=str(rng.choice(SKIES)),
        light=float(rng.uniform(-0.7, -0.3)),
        seed=int(rng.integers(1 << 30)),
    )


def make_thing(rng: np.random.Generator, colour: str, shape: str, size: str, position: str) -> Thing:
    """Put a thing into a scene, with the small random differences that no caption mentions.

    Args:
        rng: Source of the differences.
        colour: One of `COLOURS`.
        shape: One of `SHAPES`.
        size: One of `SIZES`.
        position: One of `POSITIONS`.

    Returns:
        The thing.
    """
    z = float(rng.uniform(3.1, 3.7))
    low, high = RADII[size]
    slope = OFFSETS[position] + float(rng.uniform(-0.04, 0.04))
    radius = float(rng.uniform(low, high)) * z / 3.4
    yaw = float(rng.uniform(0.45, 0.90)) - slope_angle(slope)  # seen from the camera: two faces of every cube
    tint = [float(channel) for channel in rng.uniform(-0.04, 0.04, 3)]
    return Thing(
        colour=colour,
        shape=shape,
        size=size,
        position=position,
        x=slope * z,
        z=z,
        radius=radius,
        yaw=yaw,
        tint=(tint[0], tint[1], tint[2]),
    )


def slope_angle(slope: float) -> float:
    """Compute the angle between the line of sight to a thing and straight ahead.

    Args:
        slope: Metres to the right a metre ahead.

    Returns:
        Radians, positive to the right.
    """
    import numpy as np  # here: a check of a prompt reads the words of scenes, and needs no NumPy

    return float(np.arctan(slope))


def _pair(rng: np.random.Generator, pairs: str) -> tuple[str, str]:
    while True:
        pair = str(rng.choice(COLOURS)), str(rng.choice(SHAPES))
        if pairs == "any" or (pair in HELD_OUT) == (pairs == "held_out"):
            return pair
