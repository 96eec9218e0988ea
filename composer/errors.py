"""Errors that users see: one line with the config key, its value, what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class ComposerError(Exception):
    """A request that cannot be met.

    Args:
        key: Config key at fault, as it is typed.
        value: Its value; `None` if there is none.
        reason: What is wrong with it, and what to do.
        allowed: Values that would be accepted.

    Attributes:
        key: As above.
        value: As above.
        reason: As above.
        allowed: As above, as a tuple.
        exit_code: Exit code of a command that fails with the error.
    """

    #: 2: the request can't be met.
    exit_code = 2

    def __init__(self, key: str, value: object, reason: str, allowed: Iterable[object] = ()) -> None:
        self.key, self.value, self.reason, self.allowed = key, value, reason, tuple(allowed)
        super().__init__(key, value, reason)

    def __str__(self) -> str:
        given = self.key if self.value is None else f"{self.key}={shorten_middle(self.value)}"
        line = f"{given}: {self.reason}"
        if self.allowed:
            line += f" (allowed: {', '.join(map(str, self.allowed))})"
        return printable(line)

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows: the message without a traceback, which is of no use to users."""
        return [f"{type(self).__name__}: {self}"]


class CallbackError(ComposerError):
    """A callback that failed, or returned something that the denoising loop cannot continue with."""

    exit_code = 1


class LeftBehind(CallbackError):
    """A callback that left a change on the models.

    Attributes:
        outcome: Outcome of the pass that it happened in, of type `composer.pipelines.pipeline.PassOutcome`; `None`
            if there is none.
        result: All that was generated, of type `Result`, for callers that save it; `None` if there is none.
    """

    outcome: Any = None
    result: Any = None


class Busy(ComposerError):
    """An output directory that another process holds the lock of."""

    exit_code = 3


def suggest(word: str, known: Iterable[str]) -> str:
    """Suggest known words that are similar to a misspelt one.

    Args:
        word: The word.
        known: Known words.

    Returns:
        `" Did you mean a or b?"` with three words at most, or an empty text.
    """
    near = get_close_matches(word, list(dict.fromkeys(known)), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def shorten(value: object, most: int = 80) -> str:
    """Cut a text at its end.

    Args:
        value: A value, shown as text.
        most: Longest result, in characters.

    Returns:
        The text, with `…` for what is cut.
    """
    text = str(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def shorten_middle(value: object, most: int = 80, last: int = 35) -> str:
    """Cut a text in its middle: a path is recognised by its end, a prompt by its beginning.

    Args:
        value: A value, shown as text.
        most: Longest result, in characters.
        last: Characters kept at the end if the text is cut.

    Returns:
        The text, with `…` for what is cut.
    """
    text = str(value)
    return text if len(text) <= most else f"{text[: most - last - 1]}…{text[-last:]}"


def printable(text: str) -> str:
    """Replace line breaks and control characters, which a terminal would interpret, by spaces.

    Args:
        text: Any text.

    Returns:
        One line of printable characters.
    """
    return "".join(c if c.isprintable() else " " for c in text)
