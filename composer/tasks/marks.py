"""Syntax of other tools in prompts, which composer reads as plain text, with a note."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from composer.errors import shorten

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
#: One pattern for each kind of mark. A weight must follow a word with a letter, so `(16:9)` and `[10:30]` are none.
_MARKS = [
    re.compile(pattern)
    for pattern in (
        r"<(?i:lora|lyco|locon|hypernet|hypernetwork|embedding|ti)\s*:[^<>\n]+>",
        rf"\((?=[^()]*[^\W\d_])[^():]*(?=[^\s():]*[^\W\d_])[^\s():]+\s*:\s*{_NUMBER}\s*\)",
        r"\(\([^()\n]+\)\)",
        r"\{[^{}\n]*\|[^{}\n]*\}",
        rf"\[(?=[^\[\]]*[^\W\d_])[^\[\]:|\n]*:(?:[^\[\]:|\n]*:)?\s*{_NUMBER}\s*\]",
        r"\[[^\[\]|\n]+\|[^\[\]\n]+\]",
        r"(?<!\w)__[A-Za-z0-9*](?:[\w\-/*.]*[A-Za-z0-9*])?__(?!\w)",
        r"(?<!\w)(?i:embedding):[\w.\-]+",
    )
]
#: Only beside words in other case: in a text of capitals it is a word.
_BREAK = re.compile(r"(?<![A-Z\"'“] )(?<![\w\"'“])BREAK(?![\w\"'”])(?! [A-Z]{2,})")


def note(texts: Iterable[str | None], weights: bool = False) -> tuple[str, ...]:
    """Note that prompts contain syntax of other tools.

    Args:
        texts: Prompts; None entries are ignored.
        weights: Whether weights of words are read, so that they need no note.

    Returns:
        One line that lists up to four marks, or none.
    """
    matches = list(dict.fromkeys(mark for text in dict.fromkeys(texts) if text for mark in marks(text)))
    if weights:
        matches = [mark for mark in matches if not _is_weight(mark)]
    if not matches:
        return ()
    shown = ", ".join(f'"{shorten(mark, 40)}"' for mark in matches[:4]) + (", …" if len(matches) > 4 else "")
    form = "is" if len(matches) == 1 else "are"
    known = "composer knows no marks of other tools in prompts"
    if any(map(_is_weight, matches)):
        known = "prompt_syntax=weights reads weights of words, and no other marks of other tools"
    return (f"prompt: {shown} {form} read as plain text: {known}",)


def _is_weight(mark: str) -> bool:
    return mark.startswith("(")


def marks(text: str) -> Iterator[str]:
    """Find syntax of other tools, such as `<lora:…>`, `(word:1.2)` and `[from:to:0.5]`.

    Args:
        text: A prompt.

    Yields:
        The marks.
    """
    for pattern in (*_MARKS, _BREAK):
        yield from (match.group() for match in pattern.finditer(text))
