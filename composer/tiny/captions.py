"""The words for a scene: a small grammar with synonyms, left-out parts and short tags.

What a caption does not say is told beside it, so that a trainer can ask an encoder only for what was said. Nobody
mentions a plain blue sky: ordinary backgrounds are left out more often than striking ones, so a short prompt gets one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from composer.tiny.scenes import Scene, Thing

WORDS = {
    "sphere": ("sphere", "sphere", "ball"), "cube": ("cube", "cube", "box", "block"),
    "cylinder": ("cylinder", "cylinder", "column"), "cone": ("cone",),
    "small": ("small", "small", "little", "tiny"), "large": ("large", "large", "big", "huge"),
    "grass": ("grass", "grass", "green grass", "a grassy field", "a meadow"),
    "sand": ("sand", "sand", "a sandy beach", "the desert"),
    "snow": ("snow", "snow", "a snowy field", "white snow"),
    "stone": ("stone", "stone", "gray stone", "a stone floor", "concrete"),
}  # fmt: skip
UNDER = {
    "clear": (
        "under a clear sky",
        "under a blue sky",
        "under a clear blue sky",
        "under a sunny sky",
        "on a clear day",
        "by day",
    ),
    "cloudy": ("under a cloudy sky", "under a gray sky", "under an overcast sky", "on a cloudy day"),
    "sunset": ("under a sunset sky", "under an orange sky", "at sunset", "at dusk"),
    "night": ("under a night sky", "under a dark sky", "under a starry night sky", "at night", "at night"),
}
SIDES = {
    "left": ("on the left", "on the left", "on the left side", "at the left"),
    "right": ("on the right", "on the right", "on the right side", "at the right"),
    "center": ("in the center", "in the middle"),
}
OPENINGS = ("a photo of", "a picture of", "a render of", "an image of", "a painting of", "a 3d render of")
TAGS = (
    "high quality", "highly detailed", "beautiful", "4k", "masterpiece", "studio lighting", "simple", "nice", "realistic",
    "best quality", "cute", "digital art",
)  # fmt: skip
VAGUE = ("object", "thing", "shape")
EMPTY = ("an empty landscape", "an empty scene", "nothing", "empty ground")
#: How often a background is put into words.
MENTIONED = {
    "clear": 0.45,
    "cloudy": 0.6,
    "sunset": 0.75,
    "night": 0.85,
    "grass": 0.5,
    "sand": 0.65,
    "snow": 0.65,
    "stone": 0.6,
}


@dataclass(frozen=True)
class Said:
    """What a caption tells: (colour, shape, size, place) of each thing in its order, None where it is silent."""

    things: tuple[tuple[str | None, str | None, str | None, str | None], ...]
    ground: str | None
    sky: str | None


def caption(scene: Scene, rng: np.random.Generator, full: bool = False) -> tuple[str, Said]:
    """Describe a scene; `full` leaves out nothing but the size of things of medium size."""
    return _Speaker(rng, full).describe(scene)


def phrase(thing: Thing, rng: np.random.Generator) -> str:
    """A thing alone, without its place or surroundings: `a large red cone`."""
    return _Speaker(rng, full=False).noun(thing)[0]


def vague(scene: Scene, rng: np.random.Generator) -> str:
    """A scene without shapes, sizes and places: `a red object and a blue thing, on snow`; the thing on the left comes
    first.
    """
    speaker = _Speaker(rng, full=False)
    nouns = [
        f"{'an' if thing.colour[0] in 'aeiou' else 'a'} {thing.colour} {speaker.one(VAGUE)}" for thing in scene.things
    ]
    text = speaker.one((" and ", " next to ", " beside ")).join(nouns) or speaker.one(EMPTY)
    return speaker.decorate(speaker.surrounded(text, scene)[0])


class _Speaker:
    def __init__(self, rng: np.random.Generator, full: bool) -> None:
        self.rng, self.full = rng, full
        self.articles = full or rng.random() < 0.85

    def chance(self, p: float) -> bool:
        return self.full or self.rng.random() < p

    def one(self, options: tuple[str, ...]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def describe(self, scene: Scene) -> tuple[str, Said]:
        text, things = (self.none, self.single, self.both)[len(scene.things)](*scene.things)
        text, ground, sky = self.surrounded(text, scene)
        return self.decorate(text), Said(things, ground, sky)

    def surrounded(self, text: str, scene: Scene) -> tuple[str, str | None, str | None]:
        """The text with ground and sky, and which of them were mentioned."""
        ground = scene.ground if self.chance(MENTIONED[scene.ground]) else None
        sky = scene.sky if self.chance(MENTIONED[scene.sky]) else None
        if ground:
            text += self.one((" on ", " on ", ", on ")) + self.one(WORDS[ground])
        if sky:
            text += self.one((" ", " ", ", ")) + self.one(UNDER[sky])
        return text, ground, sky

    def decorate(self, text: str) -> str:
        if self.full:
            return text
        if self.rng.random() < 0.3:
            text = f"{self.one(OPENINGS)} {text}"
        if self.rng.random() < 0.2:
            text += f", {self.one(TAGS)}" + (f", {self.one(TAGS)}" if self.rng.random() < 0.4 else "")
        return text

    def noun(self, thing: Thing) -> tuple[str, list[str | None]]:
        colour = thing.colour if self.chance(0.93) else None
        shaped = colour is None or self.chance(0.95)
        size = thing.size if thing.size != "medium" and self.chance(0.75) else None
        words = [self.one(WORDS[size])] if size else []
        words += [colour] if colour else []
        words += [self.one(WORDS[thing.shape]) if shaped else self.one(VAGUE)]
        text = " ".join(words)
        if self.articles:
            text = ("an " if text[0] in "aeiou" else "a ") + text
        return text, [colour, thing.shape if shaped else None, size, None]

    def none(self) -> tuple[str, tuple]:
        return self.one(EMPTY), ()

    def single(self, thing: Thing) -> tuple[str, tuple]:
        text, said = self.noun(thing)
        if self.chance(0.55):
            text, said[3] = f"{text} {self.one(SIDES[thing.place])}", thing.place
        return text, (tuple(said),)

    def both(self, left: Thing, right: Thing) -> tuple[str, tuple]:
        (l_text, l_said), (r_text, r_said) = self.noun(left), self.noun(right)
        style = 0.0 if self.full else self.rng.random()
        if style < 0.80:
            l_said[3], r_said[3] = "left", "right"
        first, second = f"{l_text} {self.one(SIDES['left'])}", f"{r_text} {self.one(SIDES['right'])}"
        if style < 0.24:
            return f"{first} and {second}", (tuple(l_said), tuple(r_said))
        if style < 0.40:
            return f"{second} and {first}", (tuple(r_said), tuple(l_said))
        if style < 0.60:
            return f"{l_text} {self.one(('to the left of', 'left of'))} {r_text}", (tuple(l_said), tuple(r_said))
        if style < 0.80:
            return f"{r_text} {self.one(('to the right of', 'right of'))} {l_text}", (tuple(r_said), tuple(l_said))
        pair = [(l_text, tuple(l_said)), (r_text, tuple(r_said))]
        if self.rng.random() < 0.5:
            pair.reverse()
        return f"{pair[0][0]} {self.one(('and', 'next to', 'beside', 'with'))} {pair[1][0]}", (pair[0][1], pair[1][1])


def vocabulary() -> list[str]:
    """Every phrase the grammar can say, with words a stranger is likely to try."""
    from composer.tiny.scenes import COLOURS, SHAPES

    stranger = (
        "cat dog person man woman house tree car sky sun moon star stars light dark black brown gold silver grey text blurry ugly bad "
        "worst low quality photo art style oil watercolor portrait squirrel old young warrior chief in of by with without or to a an is "
        "are no not one two three scene color and next beside left right above under landscape"
    )
    phrases = [
        *COLOURS,
        *SHAPES,
        *OPENINGS,
        *TAGS,
        *VAGUE,
        *EMPTY,
        "to the left of",
        "to the right of",
        *stranger.split(),
    ]
    for options in (*WORDS.values(), *UNDER.values(), *SIDES.values()):
        phrases += options
    return phrases
