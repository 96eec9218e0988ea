"""The words for an edit: a small grammar of instructions with synonyms, such as `make the sphere green`.

An instruction names the thing it means by as much as the scene needs, so that it can be followed without guessing. It
comes with the facts that it states, as captions do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from composer.tiny.captions import SIDES, VAGUE, WORDS
from composer.tiny.edits import Edit
from composer.tiny.scenes import Scene, Thing

if TYPE_CHECKING:
    import numpy as np

#: Ways to say each kind of edit. {it}: the thing, {new}: the colour, {a}: a noun phrase, {big}: a word for the size.
WAYS = {
    "recolour": (
        "make {it} {new}", "make {it} {new}", "turn {it} {new}", "paint {it} {new}", "color {it} {new}",
        "recolor {it} {new}", "recolor {it} to {new}", "change {it} to {new}", "change the color of {it} to {new}",
        "change the colour of {it} to {new}", "{it} should be {new}",
    ),
    "reshape": (
        "turn {it} into {a}", "change {it} into {a}", "change {it} to {a}", "make {it} {a}",
        "make {it} into {a}",
    ),
    "replace": (
        "replace {it} with {a}", "replace {it} by {a}", "swap {it} for {a}", "turn {it} into {a}", "change {it} to {a}",
        "put {a} in place of {it}",
    ),
    "resize small": (
        "make {it} {big}", "make {it} smaller", "make {it} much smaller", "shrink {it}", "change {it} to a {big} one",
    ),
    "resize large": (
        "make {it} {big}", "make {it} larger", "make {it} bigger", "make {it} much bigger", "enlarge {it}", "grow {it}",
        "change {it} to a {big} one",
    ),
    "move": ("move {it} {to}", "move {it} {to}", "put {it} {on}", "place {it} {on}", "shift {it} {to}"),
    "remove": (
        "remove {it}", "remove {it}", "delete {it}", "erase {it}", "take {it} away", "take away {it}",
        "get rid of {it}",
    ),
    "add": ("add {a}", "add {a}", "add {a}", "insert {a}", "put {a} into the scene", "place {a} in the scene"),
    "ground": (
        "change the ground to {soil}", "make the ground {soil}", "replace the ground with {soil}",
        "turn the ground into {soil}", "put everything on {soil}", "replace {old} with {soil}",
        "change {old} to {soil}", "change the floor to {soil}",
    ),
    "sky": (
        "change the sky to {sky}", "make the sky {sky}", "turn the sky into {sky}", "make it {hour}",
        "change it to {hour}", "change the time to {hour}", "the sky should be {sky}",
    ),
}  # fmt: skip
TO = {
    "left": ("to the left", "to the left", "left", "to the left side"),
    "right": ("to the right", "to the right", "right", "to the right side"),
    "center": ("to the center", "to the middle", "into the center", "into the middle"),
}
SKY = {"clear": ("clear", "blue", "sunny", "clear blue"), "cloudy": ("cloudy", "gray", "overcast"),
       "sunset": ("orange", "a sunset", "sunset"), "night": ("dark", "a night sky", "starry", "black")}  # fmt: skip
HOUR = {"clear": ("a clear day", "day", "a sunny day", "daytime"), "cloudy": ("a cloudy day", "cloudy", "overcast"),
        "sunset": ("sunset", "dusk", "evening"), "night": ("night", "night", "a starry night")}  # fmt: skip
OPENINGS = ("please", "now")


@dataclass(frozen=True)
class InstructionFacts:
    """Facts that an instruction states; None where it is silent.

    Attributes:
        kind: Kind of the edit.
        meant: (colour, shape, position) by which the thing that changes is named.
        new: (colour, shape, size, position) that it gets, or those of the thing that is added.
        ground: The new ground.
        sky: The new sky.
    """

    kind: str
    meant: tuple[str | None, ...]
    new: tuple[str | None, ...]
    ground: str | None
    sky: str | None


def instruction(edit: Edit, rng: np.random.Generator) -> tuple[str, InstructionFacts]:
    """Put an edit into words.

    Args:
        edit: The edit.
        rng: Source of all choices.

    Returns:
        The instruction and the facts that it states.
    """
    return _Speaker(edit, rng).say()


def vocabulary() -> list[str]:
    """List every phrase of the grammar beside those of captions.

    Returns:
        Phrases with their placeholders left out.
    """
    ways = [way.replace("{", " ").replace("}", " ") for options in WAYS.values() for way in options]
    more = [phrase for table in (TO, SKY, HOUR) for options in table.values() for phrase in options]
    return [*ways, *more, *OPENINGS, "medium", "medium sized", "it", "the one", "thing", "object"]


class _Speaker:
    """Makes the choices of one instruction."""

    def __init__(self, edit: Edit, rng: np.random.Generator) -> None:
        self.edit, self.rng = edit, rng
        self.meant: tuple[str | None, ...] = (None, None, None)
        self.new: dict[str, str] = {}

    def one(self, options: tuple[str, ...]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def say(self) -> tuple[str, InstructionFacts]:
        edit = self.edit
        key = f"{edit.kind} {edit.thing.size}" if edit.kind == "resize" and edit.thing else edit.kind
        words: dict[str, Callable[[], str]] = {
            "it": self.target, "new": self.colour, "a": self.noun, "big": self.size, "to": self.to, "on": self.side,
            "soil": lambda: self.one(WORDS[edit.after.ground]), "old": self.old_ground,
            "sky": lambda: self.one(SKY[edit.after.sky]), "hour": lambda: self.one(HOUR[edit.after.sky]),
        }  # fmt: skip
        text = self.one(WAYS[key])
        for name, word in words.items():
            if f"{{{name}}}" in text:
                text = text.replace(f"{{{name}}}", word())
        if key.startswith("resize"):
            self.new["size"] = edit.after.things[edit.target or 0].size
        if self.chance(0.08):
            text = f"{self.one(OPENINGS)} {text}"
        ground, sky = (new if new != old else None for new, old in (
            (edit.after.ground, edit.before.ground), (edit.after.sky, edit.before.sky)
        ))  # fmt: skip
        new = tuple(self.new.get(name) for name in ("colour", "shape", "size", "position"))
        return text, InstructionFacts(edit.kind, self.meant, new, ground, sky)

    def target(self) -> str:
        index = self.edit.target or 0
        scene, thing = self.edit.before, self.edit.before.things[index]
        if len(scene.things) == 1 and self.chance(0.2):
            return self.one(("it", "the object", "the thing"))
        names = [names for names in _NAMES if _identify(names, scene, index)]
        colour, shape, position = names[int(self.rng.integers(len(names)))]
        self.meant = (
            thing.colour if colour else None, thing.shape if shape else None, thing.position if position else None
        )  # fmt: skip
        noun = self.one(WORDS[thing.shape]) if shape else self.one((*VAGUE[:2], "one"))
        return f"the {thing.colour + ' ' if colour else ''}{noun}" + (
            f" {self.one(SIDES[thing.position])}" if position else ""
        )

    def colour(self) -> str:
        self.new["colour"] = self._thing.colour
        return self._thing.colour

    def noun(self) -> str:
        """The thing as it becomes: its shape, with its colour where this is new."""
        thing, words = self._thing, []
        self.new["shape"] = thing.shape
        if self.edit.kind == "add" and thing.size != "medium":
            words.append(self.one(WORDS[thing.size]))
            self.new["size"] = thing.size
        if self.edit.kind != "reshape":
            words.append(thing.colour)
            self.new["colour"] = thing.colour
        text = " ".join([*words, self.one(WORDS[thing.shape])])
        text = f"{'an' if text[0] in 'aeiou' else 'a'} {text}"
        if self.edit.kind == "add" and (not self.edit.before.things or self.chance(0.6)):
            self.new["position"] = thing.position
            text = f"{text} {self.one(SIDES[thing.position])}"
        return text

    def size(self) -> str:
        return self.one(WORDS[self._thing.size])

    def to(self) -> str:
        self.new["position"] = self._thing.position
        return self.one(TO[self._thing.position])

    def side(self) -> str:
        self.new["position"] = self._thing.position
        return self.one(SIDES[self._thing.position])

    def old_ground(self) -> str:
        words = self.one(WORDS[self.edit.before.ground])
        return words if words.startswith(("a ", "the ")) else f"the {words}"

    @property
    def _thing(self) -> Thing:
        if self.edit.thing is None:
            raise ValueError(f"{self.edit.kind} has no new thing")
        return self.edit.thing


#: Which of colour, shape and position name a thing, in the proportions of the grammar.
_NAMES = (
    (False, True, False), (False, True, False), (True, True, False), (True, True, False), (True, False, False),
    (False, False, True), (False, True, True), (True, True, True),
)  # fmt: skip


def _identify(names: tuple[bool, bool, bool], scene: Scene, index: int) -> bool:
    """Whether the named attributes are those of one thing of its scene alone."""

    def named(thing: Thing) -> tuple[str, ...]:
        return tuple(v for v, given in zip((thing.colour, thing.shape, thing.position), names) if given)

    return sum(named(thing) == named(scene.things[index]) for thing in scene.things) == 1
