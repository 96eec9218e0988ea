"""The words that the embedded checkpoints were trained with. Standard library and the grammars alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

#: Words that name no thing, position or colour.
_SMALL = (
    "a an the of in on at by with without and or to from into over under above below between behind near next beside "
    "left right is are be "
    "no not one two some any very it its this that these those there as for color colour colored coloured scene shown "
    "standing stands lying"
)
ABOUT = (
    "the embedded model generates spheres, cubes, cylinders and cones, two at most, in eight colours, "
    "on grass, sand, snow or stone, by day or night"
)
EDITS = "and edits them: recolour, reshape, replace, resize, move, remove and add a thing, another ground or sky"
#: Words named in a note.
_MOST = 6


def note(prompts: Iterable[str], edits: bool = False, taught: Iterable[str] = ()) -> tuple[str, ...]:
    """Note the words of prompts that an embedded checkpoint was not trained with.

    Args:
        prompts: The prompts of a request.
        edits: Whether it was trained with instructions too.
        taught: Words that adapters of the request taught it.

    Returns:
        One note, or nothing where all words are known.
    """
    learnt = {part for word in taught for part in re.findall(r"[^\W_]+", word.lower())}
    strange = (word for prompt in dict.fromkeys(prompts) for word in unknown(prompt, edits))
    words = [word for word in dict.fromkeys(strange) if word not in learnt]
    if not words:
        return ()
    named = ", ".join(words[:_MOST]) + (", …" if len(words) > _MOST else "")
    about = f"{ABOUT}, {EDITS}" if edits else ABOUT
    return (f"prompt: {about}; it does not know: {named}. model=sd15 and others do (`compose list model`)",)


def unknown(prompt: str, edits: bool = False) -> list[str]:
    """List the words of a prompt that occur in no caption, neither in the singular nor in the plural.

    Args:
        prompt: The prompt.
        edits: Whether words of instructions are known too.

    Returns:
        The words in lower case, in their order.
    """
    words = (
        word
        for word in re.findall(r"[^\W_]+", prompt.lower())
        if not word.isdigit() and not re.fullmatch("[a-z]", word)
    )
    return [word for word in words if not {word, word.removesuffix("s"), word.removesuffix("es")} & _known(edits)]


@cache
def _known(edits: bool) -> frozenset[str]:
    from composer.tiny import captions
    from composer.tiny.scenes import COLOURS, SHAPES

    phrases = [*COLOURS, *SHAPES, *captions.OPENINGS, *captions.TAGS, *captions.VAGUE, *captions.EMPTY, _SMALL]
    for options in (captions.WORDS, captions.UNDER, captions.SIDES):
        phrases += [phrase for ways in options.values() for phrase in ways]
    if edits:
        from composer.tiny.instructions import vocabulary

        phrases += vocabulary()
    return frozenset(re.findall(r"[^\W_]+", " ".join(phrases).lower()))
