"""A small ray caster: scene → image, exact depth, exact masks.

Numpy only. Rays that can meet a thing are cast 3×3 to a pixel; ground and sky are computed once a pixel, since nothing
on them is sharper than one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from composer.tiny.scenes import Scene, Thing
from composer.tiny.solids import HITS, unit

Array = np.ndarray

SUPERSAMPLING = 3
CAMERA_HEIGHT = 1.5
#: Half the image's width and height, as a tangent.
FIELD = 0.75
#: The horizon's row, in −1 (top) … 1 (bottom).
HORIZON = -0.25
#: Depth of the sky, and the farthest visible ground.
FAR = 12.0

SURFACES = {
    "red": (0.86, 0.10, 0.10), "orange": (0.98, 0.50, 0.06), "yellow": (0.97, 0.86, 0.12), "green": (0.12, 0.62, 0.18),
    "blue": (0.12, 0.26, 0.88), "purple": (0.50, 0.14, 0.72), "pink": (0.98, 0.48, 0.72), "white": (0.95, 0.95, 0.95),
}  # fmt: skip
SOILS = {
    "grass": (0.34, 0.58, 0.22),
    "sand": (0.86, 0.74, 0.50),
    "snow": (0.91, 0.94, 0.98),
    "stone": (0.50, 0.50, 0.52),
}


@dataclass(frozen=True)
class Light:
    """RGB colours in [0, 1] of a sky.

    Attributes:
        zenith: Colour overhead.
        horizon: Colour at the horizon.
        sun: Colour of the sunlight.
        shade: Colour of the ambient light.
    """

    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    sun: tuple[float, float, float]
    shade: tuple[float, float, float]


LIGHTS = {
    "clear": Light((0.25, 0.50, 0.90), (0.72, 0.86, 0.98), (1.00, 0.98, 0.94), (0.42, 0.45, 0.50)),
    "cloudy": Light((0.56, 0.60, 0.64), (0.80, 0.82, 0.84), (0.80, 0.80, 0.80), (0.54, 0.54, 0.55)),
    "sunset": Light((0.36, 0.22, 0.50), (0.99, 0.62, 0.32), (1.00, 0.84, 0.66), (0.44, 0.38, 0.42)),
    "night": Light((0.02, 0.03, 0.10), (0.10, 0.14, 0.30), (0.80, 0.84, 1.00), (0.26, 0.28, 0.38)),
}


@dataclass(frozen=True)
class Rendering:
    """An image of a scene with its depth and masks.

    Attributes:
        image: (H, W, 3) uint8.
        depth: (H, W) float32 in metres.
        masks: (things, H, W) float32 in [0, 1], the fraction of each pixel that a thing covers.
    """

    image: Array
    depth: Array
    masks: Array


def render(scene: Scene, size: int = 64) -> Rendering:
    """Render a scene.

    Args:
        scene: The scene.
        size: Pixels of the image's side.

    Returns:
        Image, depth and masks.
    """
    rng = np.random.default_rng(scene.seed)
    light = _rgb(LIGHTS[scene.sky])
    sun = unit(np.array([scene.light, 1.0, -0.55]))
    image, depth = _backdrop(scene, light, sun, size, rng)
    masks = np.zeros((len(scene.things), size, size), np.float32)
    for index in sorted(range(len(scene.things)), key=lambda i: -scene.things[i].z):
        rows, cols, colour, cover, near = _render_thing(scene.things[index], light, sun, size)
        image[rows, cols] = image[rows, cols] * (1 - cover[..., None]) + colour
        depth[rows, cols] = np.where(cover > 0.5, near, depth[rows, cols])
        masks[:, rows, cols] *= 1 - cover
        masks[index, rows, cols] = cover
    return Rendering((np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8), depth.astype(np.float32), masks)


# --- ground and sky ---------------------------------------------------------------------------------------------------


def _backdrop(
    scene: Scene, light: dict[str, Array], sun: Array, size: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    u, v = _grid(size, 1)
    below = v > HORIZON + 1e-3
    distance = np.where(below, CAMERA_HEIGHT / (np.maximum(v - HORIZON, 1e-3) * FIELD), FAR)
    ground = _ground(scene, light, sun, u * FIELD * distance, distance, _noise(rng, 9, size))
    image = np.where(below[..., None], ground, _sky(scene.sky, light, v, size, rng))
    return image, np.minimum(distance, FAR)


def _ground(scene: Scene, light: dict[str, Array], sun: Array, x: Array, z: Array, grain: Array) -> Array:
    soil = np.array(SOILS[scene.ground]) * (1 + 0.03 * grain[..., None])
    lit = np.ones_like(x)
    for thing in scene.things:
        lit = lit * (1 - 0.62 * _shadow(thing, sun, x, z))
    colour = soil * (light["shade"] + light["sun"] * 0.62 * sun[1] * lit[..., None])
    haze = np.clip((z - 4) / 10, 0, 0.75)[..., None]
    return colour * (1 - haze) + 0.9 * light["horizon"] * haze


def _shadow(thing: Thing, sun: Array, x: Array, z: Array) -> Array:
    """Soft shadow, 0–1: the distance to the line on which the thing's middle is thrown, blurred at its edge."""
    width = {"sphere": 0.95, "cube": 1.0, "cylinder": 0.72, "cone": 0.9}[thing.shape] * thing.radius
    height = {"sphere": 1.0, "cube": 1.2, "cylinder": 1.4, "cone": 0.9}[thing.shape] * thing.radius
    throw_x, throw_z = -sun[0] / sun[1] * height, -sun[2] / sun[1] * height
    along = np.clip(((x - thing.x) * throw_x + (z - thing.z) * throw_z) / (throw_x**2 + throw_z**2), 0, 1)
    aside = np.hypot(x - thing.x - along * throw_x, z - thing.z - along * throw_z)
    taper = 0.45 if thing.shape == "cone" else 0.0
    return 1 / (1 + np.exp(np.clip((aside - 0.92 * width * (1 - taper * along)) / 0.07, -30, 30)))


def _sky(name: str, light: dict[str, Array], v: Array, size: int, rng: np.random.Generator) -> Array:
    height = np.clip((HORIZON - v) / (HORIZON + 1), 0, 1)
    blend = height[..., None] ** 0.8
    sky = light["horizon"] * (1 - blend) + light["zenith"] * blend
    if name == "night":
        sky = sky + _stars(size, rng)[..., None]
    elif name != "sunset":
        clouds = _noise(rng, 6, size) * (0.10 if name == "cloudy" else 0.07)
        sky = sky + (np.clip(clouds, -0.02, 0.3) * np.clip(height * 3, 0, 1))[..., None]
    return sky


#: Stars as (column, row, brightness) in −1 … 1: one sky for every night, as over a real town, so that it can be learnt.
STARS = np.array(
    [(-0.86, -0.90, 0.9), (-0.52, -0.70, 0.7), (-0.18, -0.93, 0.8), (0.06, -0.62, 0.6), (0.34, -0.84, 1.0),
     (0.62, -0.58, 0.7), (0.88, -0.80, 0.8), (-0.74, -0.46, 0.6), (-0.33, -0.42, 0.5), (0.45, -0.38, 0.5)]
)  # fmt: skip


def _stars(size: int, rng: np.random.Generator) -> Array:
    u, v = _grid(size, 1)
    glow = 1.1 / 64 * 2
    light = np.zeros((size, size))
    for column, row, brightness in STARS:
        far = ((u - column) ** 2 + (v - row) ** 2) / glow**2
        light += brightness * rng.uniform(0.7, 1.0) * np.exp(-np.minimum(far, 30))
    return light


def _noise(rng: np.random.Generator, cells: int, size: int) -> Array:
    """Smooth value noise of unit scale, shape (size, size), from a lattice of `cells` × `cells`."""
    lattice = rng.standard_normal((cells, cells))
    at = np.linspace(0, cells - 1.001, size)
    cell, part = at.astype(int), at % 1
    part = part * part * (3 - 2 * part)
    rows = lattice[cell] * (1 - part)[:, None] + lattice[cell + 1] * part[:, None]
    return rows[:, cell] * (1 - part) + rows[:, cell + 1] * part


# --- things -----------------------------------------------------------------------------------------------------------


def _render_thing(
    thing: Thing, light: dict[str, Array], sun: Array, size: int
) -> tuple[slice, slice, Array, Array, Array]:
    """Cast the rays of the box around a thing: (rows, columns, colour × cover, cover 0–1, depth in metres)."""
    rows, cols = box(thing, size)
    u, v = (axis[_fine(rows), _fine(cols)] for axis in _grid(size, SUPERSAMPLING))
    direction = np.stack([u * FIELD, (HORIZON - v) * FIELD, np.ones_like(u)], -1)
    t, normal = HITS[thing.shape](np.array([-thing.x, CAMERA_HEIGHT, -thing.z]), direction, thing)
    hit = np.isfinite(t)
    colour = np.where(hit[..., None], _shade(thing, np.where(hit, t, 0), direction, normal, light, sun), 0)
    near = np.where(hit, t, np.inf)[SUPERSAMPLING // 2 :: SUPERSAMPLING, SUPERSAMPLING // 2 :: SUPERSAMPLING]
    return rows, cols, _pool(colour), _pool(hit[..., None].astype(float))[..., 0], np.minimum(near, FAR)


def _shade(thing: Thing, t: Array, direction: Array, normal: Array, light: dict[str, Array], sun: Array) -> Array:
    """Blinn–Phong with a sky that lights from above and a ground that darkens the things on it."""
    base = np.clip(np.array(SURFACES[thing.colour]) + np.array(thing.tint), 0, 1)
    facing = np.clip(normal @ sun, 0, 1)[..., None]
    half = unit(sun - unit(direction))
    gloss = 0.12 if thing.shape == "cube" else 0.35
    shine = gloss * np.clip((normal * half).sum(-1), 0, 1)[..., None] ** 28
    above = np.clip((CAMERA_HEIGHT + t * direction[..., 1]) / (0.5 * thing.radius), 0, 1)[..., None]
    ambient = light["shade"] * 1.15 * (0.82 + 0.28 * normal[..., 1:2]) * (0.72 + 0.28 * above)
    return base * (ambient + 0.72 * light["sun"] * facing) + light["sun"] * shine


def box(thing: Thing, size: int) -> tuple[slice, slice]:
    """Find the pixels that a thing can touch: the projected corners of a box around it.

    Args:
        thing: The thing.
        size: Pixels of the image's side.

    Returns:
        Rows and columns.
    """
    r = 1.15 * thing.radius
    x, y, z = np.meshgrid([thing.x - r, thing.x + r], [0.0, 2 * r], [thing.z - r, thing.z + r])
    u, v = x / z / FIELD, HORIZON + (CAMERA_HEIGHT - y) / z / FIELD

    def span(values: Array) -> slice:
        low, high = ((np.array([values.min(), values.max()]) + 1) / 2 * size).clip(0, size)
        return slice(int(low), int(np.ceil(high)))

    return span(v), span(u)


# --- pixels -----------------------------------------------------------------------------------------------------------


def _grid(size: int, fine: int) -> tuple[Array, Array]:
    """Centres of the (sub)pixels, (u, v) in −1 … 1, each of shape (size·fine, size·fine)."""
    at = (np.arange(size * fine) + 0.5) / (size * fine) * 2 - 1
    v, u = np.meshgrid(at, at, indexing="ij")
    return u, v


def _fine(span: slice) -> slice:
    return slice(span.start * SUPERSAMPLING, span.stop * SUPERSAMPLING)


def _pool(values: Array) -> Array:
    h, w, c = values.shape
    return values.reshape(h // SUPERSAMPLING, SUPERSAMPLING, w // SUPERSAMPLING, SUPERSAMPLING, c).mean((1, 3))


def _rgb(light: Light) -> dict[str, Array]:
    return {name: np.array(value) for name, value in vars(light).items()}
