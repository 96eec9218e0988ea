"""Marks in prompts that other tools give a meaning: here they are text like any other, which a note says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from composer.errors import shorten

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
#: Of each kind of mark. A word with a letter must stand before a weight, so that `(16:9)` and `[10:30]` are none.
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
#: Alone in its case: in a shouted text it is a word.
_BREAK = re.compile(r"(?<![A-Z\"'“] )(?<![\w\"'“])BREAK(?![\w\"'”])(?! [A-Z]{2,})")


def note(texts: Iterable[str | None]) -> tuple[str, ...]:
    """What to say of texts with such marks; nothing where there are none."""
    found = list(dict.fromkeys(mark for text in dict.fromkeys(texts) if text for mark in marks(text)))
    if not found:
        return ()
    shown = ", ".join(f'"{shorten(mark, 40)}"' for mark in found[:4]) + (", …" if len(found) > 4 else "")
    command = "is" if len(found) == 1 else "are"
    return (f"prompt: {shown} {command} read as plain text: composer knows no marks of other tools in prompts",)


def marks(text: str) -> Iterator[str]:
    for pattern in (*_MARKS, _BREAK):
        yield from (match.group() for match in pattern.finditer(text))
