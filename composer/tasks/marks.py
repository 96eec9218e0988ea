"""Syntax of other tools in prompts, which composer reads as plain text, with a note."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

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


def note(texts: Iterable[str | None], syntaxes: Collection[str] = ()) -> tuple[str, ...]:
    """Note that prompts contain syntax of other tools.

    Args:
        texts: Prompts; None entries are ignored.
        syntaxes: Names of the syntaxes that are read, whose marks need no note.

    Returns:
        One line that lists up to four marks, or none.
    """
    matches = list(dict.fromkeys(mark for text in dict.fromkeys(texts) if text for mark in marks(text)))
    matches = [mark for mark in matches if syntax_of(mark) not in syntaxes]
    if not matches:
        return ()
    shown = ", ".join(f'"{shorten(mark, 40)}"' for mark in matches[:4]) + (", …" if len(matches) > 4 else "")
    form = "is" if len(matches) == 1 else "are"
    known = "composer knows no marks of other tools in prompts"
    if able := [name for name in ("dynamic", "weights") if name in map(syntax_of, matches)]:
        known = (
            f"prompt_syntax={able[0] if len(able) == 1 else '[dynamic,weights]'} reads {_reads(able)}, and no others"
        )
    return (f"prompt: {shown} {form} read as plain text: {known}",)


def syntax_of(mark: str) -> str | None:
    """Return the name of the syntax that reads a mark; None if none does.

    Args:
        mark: A mark that was found in a prompt.
    """
    if mark.startswith("(") or mark == "BREAK":
        return "weights"
    return "dynamic" if mark.startswith(("{", "__")) else None


def _reads(names: Sequence[str]) -> str:
    return " and ".join({"dynamic": "{a|b} and __name__", "weights": "(word:1.2) and BREAK"}[name] for name in names)


def marks(text: str) -> Iterator[str]:
    """Find syntax of other tools, such as `<lora:…>`, `(word:1.2)` and `[from:to:0.5]`.

    Args:
        text: A prompt.

    Yields:
        The marks.
    """
    for pattern in (*_MARKS, _BREAK):
        yield from (match.group() for match in pattern.finditer(text))
