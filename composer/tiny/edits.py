"""Edits of scenes: one change each, so that the renderer knows what an edited image has to show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from composer.tiny.scenes import (
    COLOURS,
    GROUNDS,
    HELD_OUT,
    OFFSETS,
    POSITIONS,
    RADII,
    SHAPES,
    SIZES,
    SKIES,
    Scene,
    Thing,
    make_thing,
    slope_angle,
)

if TYPE_CHECKING:
    import numpy as np

#: Kinds of edits, with how often each is chosen among those that a scene allows.
KINDS = {
    "recolour": 3.0, "reshape": 2.0, "replace": 1.5, "resize": 1.5, "move": 3.0, "remove": 2.5, "add": 5.0,
    "ground": 1.2, "sky": 1.2,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A change of a scene.

    Attributes:
        kind: One of `KINDS`.
        before: The scene as it was.
        after: The scene as it must become.
        target: Index among the things of `before` of the one that changes or goes; None where none does.
        thing: The thing as it becomes, or the one that is added; None where none is.
    """

    kind: str
    before: Scene
    after: Scene
    target: int | None = None
    thing: Thing | None = None


def sample_edit(scene: Scene, rng: np.random.Generator, pairs: str = "seen", kind: str | None = None) -> Edit:
    """Sample a change of a scene.

    Args:
        scene: The scene.
        rng: Source of all choices.
        pairs: Colour × shape pairs that a changed thing may have: `seen` omits those of `HELD_OUT`, `held_out` uses
            nothing else, `any` all.
        kind: One of `KINDS` that the scene allows; None for any of them.

    Returns:
        The change.
    """
    kinds = possible(scene)
    total = sum(KINDS[one] for one in kinds)
    chosen = kind or str(rng.choice(kinds, p=[KINDS[one] / total for one in kinds]))
    return _MAKERS[chosen](scene, rng, pairs)


def possible(scene: Scene) -> list[str]:
    """List the kinds of edits that a scene allows.

    Args:
        scene: The scene. Nothing moves or is added where another thing is, nor beside one in the center.

    Returns:
        Some of `KINDS`, in their order.
    """
    count = len(scene.things)
    barred = set() if count else {"recolour", "reshape", "replace", "resize", "remove"}
    if count != 1:
        barred.add("move")
    if not _free(scene):
        barred.add("add")
    return [kind for kind in KINDS if kind not in barred]


def _free(scene: Scene) -> tuple[str, ...]:
    """Positions where a thing can be added."""
    taken = {thing.position for thing in scene.things}
    if not taken:
        return POSITIONS
    return tuple(one for one in ("left", "right") if one not in taken) if "center" not in taken else ()


def _allowed(colour: str, shape: str, pairs: str) -> bool:
    return pairs == "any" or ((colour, shape) in HELD_OUT) == (pairs == "held_out")


def _others(options: tuple[str, ...], value: str) -> tuple[str, ...]:
    return tuple(one for one in options if one != value)


def _one(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


def _pick(scene: Scene, rng: np.random.Generator) -> tuple[int, Thing]:
    index = int(rng.integers(len(scene.things)))
    return index, scene.things[index]


def _changed(kind: str, scene: Scene, index: int, thing: Thing) -> Edit:
    things = (*scene.things[:index], thing, *scene.things[index + 1 :])
    return Edit(kind=kind, before=scene, after=replace(scene, things=things), target=index, thing=thing)


def _recolour(scene: Scene, rng: np.random.Generator, pairs: str) -> Edit:
    return _new_pair("recolour", scene, rng, pairs, lambda old: (_one(rng, _others(COLOURS, old.colour)), old.shape))


def _reshape(scene: Scene, rng: np.random.Generator, pairs: str) -> Edit:
    return _new_pair("reshape", scene, rng, pairs, lambda old: (old.colour, _one(rng, _others(SHAPES, old.shape))))


def _replace(scene: Scene, rng: np.random.Generator, pairs: str) -> Edit:
    def both(old: Thing) -> tuple[str, str]:
        return _one(rng, _others(COLOURS, old.colour)), _one(rng, _others(SHAPES, old.shape))

    return _new_pair("replace", scene, rng, pairs, both)


def _new_pair(
    kind: str, scene: Scene, rng: np.random.Generator, pairs: str, choose: Callable[[Thing], tuple[str, str]]
) -> Edit:
    """Choose until the pair is allowed; a thing that no allowed pair can come from (a red one of which only the shape
    may change to a held-out pair) is given up for any pair.
    """
    attempts = 0
    while True:
        index, old = _pick(scene, rng)
        colour, shape = choose(old)
        attempts += 1
        if _allowed(colour, shape, pairs if attempts < 200 else "any"):
            return _changed(kind, scene, index, replace(old, colour=colour, shape=shape))


def _resize(scene: Scene, rng: np.random.Generator, pairs: str) -> Edit:
    index, old = _pick(scene, rng)
    size = _one(rng, _others((SIZES[0], SIZES[-1]), old.size))
    radius = float(rng.uniform(*RADII[size])) * old.z / 3.4
    return _changed("resize", scene, index, replace(old, size=size, radius=radius))


def _move(scene: Scene, rng: np.random.Generator, pairs: str) -> Edit:
    (old,) = scene.things
    position = _one(rng, _others(POSITIONS, old.position))
    slope, was = OFFSETS[position], old.x / old.z
    turned = old.yaw + slope_angle(was) - slope_angle(slope)  # seen from the camera it stays as it was
    return _changed("move", scene, 0, replace(old, position=position, x=slope * old.z, yaw=turned))


def _remove(scene: Scene, rng: np.random.Generator, pairs: str) -> Edit:
    index, _ = _pick(scene, rng)
    rest = (*scene.things[:index], *scene.things[index + 1 :])
    return Edit(kind="remove", before=scene, after=replace(scene, things=rest), target=index)


def _add(scene: Scene, rng: np.random.Generator, pairs: str) -> Edit:
    while True:
        colour, shape = _one(rng, COLOURS), _one(rng, SHAPES)
        if _allowed(colour, shape, pairs):
            break
    new = make_thing(rng, colour, shape, _one(rng, SIZES), _one(rng, _free(scene)))
    things = tuple(sorted((*scene.things, new), key=lambda thing: POSITIONS.index(thing.position)))
    return Edit(kind="add", before=scene, after=replace(scene, things=things), thing=new)


def _ground(scene: Scene, rng: np.random.Generator, pairs: str) -> Edit:
    return Edit(kind="ground", before=scene, after=replace(scene, ground=_one(rng, _others(GROUNDS, scene.ground))))


def _sky(scene: Scene, rng: np.random.Generator, pairs: str) -> Edit:
    return Edit(kind="sky", before=scene, after=replace(scene, sky=_one(rng, _others(SKIES, scene.sky))))


_MAKERS = {
    "recolour": _recolour, "reshape": _reshape, "replace": _replace, "resize": _resize, "move": _move,
    "remove": _remove, "add": _add, "ground": _ground, "sky": _sky,
}  # fmt: skip
