"""Where rays meet solids: closed formulas, in coordinates relative to each solid's foot.

Each function takes the camera's position relative to the solid's foot, (3,), ray directions (…, 3) with z = 1, and the
thing; it returns distances t (…), infinite where the ray misses, and normals (…, 3). Since z = 1, t is the depth.
"""

from __future__ import annotations

import numpy as np

from composer.tiny.scenes import Thing

Array = np.ndarray


def _sphere(origin: Array, direction: Array, thing: Thing) -> tuple[Array, Array]:
    origin = origin - np.array([0, thing.radius, 0])
    t = _nearest((direction**2).sum(-1), direction @ origin, origin @ origin - thing.radius**2)
    return t, (origin + _finite(t) * direction) / thing.radius


def _cube(origin: Array, direction: Array, thing: Thing) -> tuple[Array, Array]:
    """Slab test in the cube's own axes (https://en.wikipedia.org/wiki/Slab_method)."""
    half = 0.80 * thing.radius
    cos, sin = np.cos(thing.yaw), np.sin(thing.yaw)
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    o, d = turn @ (origin - np.array([0, half, 0])), direction @ turn.T
    d = np.where(np.abs(d) < 1e-6, 1e-6, d)
    enter, leave = (-np.sign(d) * half - o) / d, (np.sign(d) * half - o) / d
    t = np.where((enter.max(-1) < leave.min(-1)) & (enter.max(-1) > 0), enter.max(-1), np.inf)
    side = np.eye(3)[enter.argmax(-1)] * -np.sign(d)
    return t, side @ turn


def _cylinder(origin: Array, direction: Array, thing: Thing) -> tuple[Array, Array]:
    radius, height = 0.68 * thing.radius, 1.75 * thing.radius
    flat = np.array([1.0, 0.0, 1.0])
    o, d = origin * flat, direction * flat
    wall = _nearest((d**2).sum(-1), d @ o, o @ o - radius**2)
    y = origin[1] + _finite(wall)[..., 0] * direction[..., 1]
    wall = np.where((y >= 0) & (y <= height), wall, np.inf)
    down = np.minimum(direction[..., 1], -1e-6)
    lid = (height - origin[1]) / down
    on_lid = (lid > 0) & (((o + lid[..., None] * d) ** 2).sum(-1) < radius**2) & (lid < wall)
    normal = np.where(on_lid[..., None], np.array([0.0, 1.0, 0.0]), (o + _finite(wall) * d) / radius)
    return np.where(on_lid, lid, wall), normal


def _cone(origin: Array, direction: Array, thing: Thing) -> tuple[Array, Array]:
    radius, height = 0.92 * thing.radius, 1.85 * thing.radius
    scale = np.array([1.0, -((radius / height) ** 2), 1.0])
    o = origin - np.array([0, height, 0])
    t = _nearest((scale * direction**2).sum(-1), direction @ (scale * o), o @ (scale * o))
    y = origin[1] + _finite(t)[..., 0] * direction[..., 1]
    t = np.where((y >= 0) & (y <= height), t, np.inf)
    return t, unit(scale * (o + _finite(t) * direction))


HITS = {"sphere": _sphere, "cube": _cube, "cylinder": _cylinder, "cone": _cone}


def _nearest(a: Array, b: Array, c: Array | float) -> Array:
    """The nearer root of a·t² + 2·b·t + c, infinite where there is none ahead."""
    inside = b * b - a * c
    t = (-b - np.sqrt(np.maximum(inside, 0))) / a
    return np.where((inside > 0) & (t > 0), t, np.inf)


def _finite(t: Array) -> Array:
    return np.where(np.isfinite(t), t, 0)[..., None]


def unit(vector: Array) -> Array:
    """Normalise vectors.

    Args:
        vector: (…, 3).

    Returns:
        Vectors of length 1, (…, 3).
    """
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-9)
