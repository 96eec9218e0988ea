"""The one error that users see: a line that names the key, the value given, what is allowed, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class ComposerError(Exception):
    """A request that cannot be met.

    Args:
        key: the config key at fault, as it is typed.
        value: what was given, or None where nothing was.
        reason: what is wrong with it, and what to do.
        allowed: values that would be accepted.
    """

    #: 2: the request can't be met.
    exit_code = 2

    def __init__(self, key: str, value: object, reason: str, allowed: Iterable[object] = ()) -> None:
        self.key, self.value, self.reason, self.allowed = key, value, reason, tuple(allowed)
        super().__init__(key, value, reason)

    def __str__(self) -> str:
        given = self.key if self.value is None else f"{self.key}={both_ends(self.value)}"
        line = f"{given}: {self.reason}"
        if self.allowed:
            line += f" (allowed: {', '.join(map(str, self.allowed))})"
        return printable(line)

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows: the command line's own, without a traceback."""
        return [f"{type(self).__name__}: {self}"]


class CallbackError(ComposerError):
    """A callback failed, or returned what the loop can't go on with."""

    exit_code = 1


class LeftBehind(CallbackError):
    """A callback left something on the models.

    Attributes:
        outcome: Outcome of the pass that it happened in, of type `composer.pipelines.pipeline.PassOutcome`; ``None``
            if there is none.
        result: All that was generated, of type `Result`, for callers that save it; ``None`` if there is none.
    """

    outcome: Any = None
    result: Any = None


class Busy(ComposerError):
    """Another process works in this folder."""

    exit_code = 3


def suggest(word: str, known: Iterable[str]) -> str:
    """` Did you mean …?`, or nothing when no known word is near."""
    near = get_close_matches(word, list(dict.fromkeys(known)), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def shorten(value: object, most: int = 80) -> str:
    text = str(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def both_ends(value: object, most: int = 80, last: int = 35) -> str:
    """A path is known by its end, a prompt by its beginning."""
    text = str(value)
    return text if len(text) <= most else f"{text[: most - last - 1]}…{text[-last:]}"


def printable(text: str) -> str:
    """Without line breaks and control bytes, which a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text)
