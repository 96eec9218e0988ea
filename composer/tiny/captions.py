"""The words for a scene: a small grammar with synonyms, left-out parts and short tags.

Each caption comes with the facts that it states, so that a trainer only expects these of an encoder. Nobody
mentions a plain blue sky: ordinary backgrounds are left out more often than striking ones, so a short prompt gets one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from composer.tiny.scenes import Scene, Thing

if TYPE_CHECKING:
    import numpy as np

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
    "high quality", "highly detailed", "beautiful", "4k", "masterpiece", "studio lighting", "simple", "nice",
    "realistic", "best quality", "cute", "digital art",
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


#: (colour, shape, size, position) of each thing; None where a caption is silent.
ThingFacts = tuple[tuple["str | None", ...], ...]


@dataclass(frozen=True)
class CaptionFacts:
    """Facts that a caption states; None where it is silent.

    Attributes:
        things: (colour, shape, size, position) of each thing, in the scene's order.
        ground: Word for the ground, one of `GROUNDS`.
        sky: Word for the sky, one of `SKIES`.
    """

    things: ThingFacts
    ground: str | None
    sky: str | None


def caption(scene: Scene, rng: np.random.Generator, full: bool = False) -> tuple[str, CaptionFacts]:
    """Describe a scene in words.

    Args:
        scene: The scene.
        rng: Source of all choices.
        full: Whether to omit nothing but the size of things of medium size.

    Returns:
        The caption and the facts that it states.
    """
    return _Speaker(rng, full).describe(scene)


def phrase(thing: Thing, rng: np.random.Generator) -> str:
    """Describe a thing alone, such as `a large red cone`.

    Args:
        thing: The thing; its position and surroundings are not mentioned.
        rng: Source of all choices.

    Returns:
        The words.
    """
    return _Speaker(rng, full=False).noun(thing)[0]


def vague(scene: Scene, rng: np.random.Generator) -> str:
    """Describe a scene without shapes, sizes and positions, such as `a red object and a blue thing, on snow`.

    Args:
        scene: The scene; its thing on the left is mentioned first.
        rng: Source of all choices.

    Returns:
        The words.
    """
    speaker = _Speaker(rng, full=False)
    nouns = [
        f"{'an' if thing.colour[0] in 'aeiou' else 'a'} {thing.colour} {speaker.one(VAGUE)}" for thing in scene.things
    ]
    text = speaker.one((" and ", " next to ", " beside ")).join(nouns) or speaker.one(EMPTY)
    return speaker.decorate(speaker.surrounded(text, scene)[0])


class _Speaker:
    """Makes the choices of one caption."""

    def __init__(self, rng: np.random.Generator, full: bool) -> None:
        self.rng, self.full = rng, full
        self.articles = full or rng.random() < 0.85

    def chance(self, p: float) -> bool:
        return self.full or self.rng.random() < p

    def one(self, options: tuple[str, ...]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def describe(self, scene: Scene) -> tuple[str, CaptionFacts]:
        text, things = (self.none, self.single, self.both)[len(scene.things)](*scene.things)
        text, ground, sky = self.surrounded(text, scene)
        return self.decorate(text), CaptionFacts(things, ground, sky)

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

    def none(self) -> tuple[str, ThingFacts]:
        return self.one(EMPTY), ()

    def single(self, thing: Thing) -> tuple[str, ThingFacts]:
        text, facts = self.noun(thing)
        if self.chance(0.55):
            text, facts[3] = f"{text} {self.one(SIDES[thing.position])}", thing.position
        return text, (tuple(facts),)

    def both(self, left: Thing, right: Thing) -> tuple[str, ThingFacts]:
        (l_text, l_facts), (r_text, r_facts) = self.noun(left), self.noun(right)
        style = 0.0 if self.full else self.rng.random()
        if style < 0.80:
            l_facts[3], r_facts[3] = "left", "right"
        first, second = f"{l_text} {self.one(SIDES['left'])}", f"{r_text} {self.one(SIDES['right'])}"
        if style < 0.24:
            return f"{first} and {second}", (tuple(l_facts), tuple(r_facts))
        if style < 0.40:
            return f"{second} and {first}", (tuple(r_facts), tuple(l_facts))
        if style < 0.60:
            return f"{l_text} {self.one(('to the left of', 'left of'))} {r_text}", (tuple(l_facts), tuple(r_facts))
        if style < 0.80:
            return f"{r_text} {self.one(('to the right of', 'right of'))} {l_text}", (tuple(r_facts), tuple(l_facts))
        pair = [(l_text, tuple(l_facts)), (r_text, tuple(r_facts))]
        if self.rng.random() < 0.5:
            pair.reverse()
        return f"{pair[0][0]} {self.one(('and', 'next to', 'beside', 'with'))} {pair[1][0]}", (pair[0][1], pair[1][1])


def vocabulary() -> list[str]:
    """List every phrase of the grammar, and words that users are likely to try.

    Returns:
        Phrases, some of them several times; the tokenizer learns from their frequencies.
    """
    from composer.tiny.scenes import COLOURS, SHAPES

    untrained = (
        "cat dog person man woman house tree car sky sun moon star stars light dark black brown gold silver grey text "
        "blurry ugly bad "
        "worst low quality photo art style oil watercolor portrait squirrel old young warrior chief in of by with "
        "without or to a an is "
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
        *untrained.split(),
    ]
    for options in (*WORDS.values(), *UNDER.values(), *SIDES.values()):
        phrases += options
    return phrases
