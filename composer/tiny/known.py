"""What the embedded checkpoint knows: the words that it was trained with. Standard library and captions alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

#: Words that tell of no thing, place or colour.
_SMALL = (
    "a an the of in on at by with without and or to from into over under above below between behind near next beside left right is are be "
    "no not one two some any very it its this that these those there as for color colour colored coloured scene shown standing stands lying"
)
ABOUT = (
    "the embedded model draws spheres, cubes, cylinders and cones, two at most, in eight colours, "
    "on grass, sand, snow or stone, by day or night"
)
#: Words named in a note.
_MOST = 6


def note(prompts: Iterable[str]) -> tuple[str, ...]:
    """What to say of prompts with words that the embedded checkpoint does not know."""
    words = list(dict.fromkeys(word for prompt in dict.fromkeys(prompts) for word in unknown(prompt)))
    if not words:
        return ()
    named = ", ".join(words[:_MOST]) + (", …" if len(words) > _MOST else "")
    return (f"prompt: {ABOUT}; it does not know: {named}. model=sd15 and others do (`compose list model`)",)


def unknown(prompt: str) -> list[str]:
    """Words of a prompt that no caption holds, in the singular or the plural."""
    words = (
        word
        for word in re.findall(r"[^\W_]+", prompt.lower())
        if not word.isdigit() and not re.fullmatch("[a-z]", word)
    )
    return [word for word in words if not {word, word.removesuffix("s"), word.removesuffix("es")} & _known()]


@cache
def _known() -> frozenset[str]:
    from composer.tiny import captions
    from composer.tiny.scenes import COLOURS, SHAPES

    said = [*COLOURS, *SHAPES, *captions.OPENINGS, *captions.TAGS, *captions.VAGUE, *captions.EMPTY, _SMALL]
    for options in (captions.WORDS, captions.UNDER, captions.SIDES):
        said += [phrase for phrases in options.values() for phrase in phrases]
    return frozenset(re.findall(r"[^\W_]+", " ".join(said).lower()))
