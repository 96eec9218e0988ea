r"""The syntax of ``prompt_syntax=weights``: ``(word:1.3)``, ``(word)``, ``[word]``, ``BREAK``, ``\(`` for a sign.

https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/Features#attentionemphasis
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from composer.errors import ComposerError

#: Factors of ``(word)`` and ``[word]``.
MORE, LESS = 1.1, 1 / 1.1
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
#: An escaped sign, a bracket, a weight before its parenthesis, or text.
_PART = re.compile(rf"\\[()\[\]\\]|[()\[\]]|:\s*({_NUMBER})\s*(?=\))|[^()\[\]\\:]+|.", re.DOTALL)
#: Between brackets: words that other tools change from step to step.
_BY_STEP = re.compile(rf"\||:\s*{_NUMBER}\s*$")
_BREAK = re.compile(r"\s*\bBREAK\b\s*")


@dataclass(frozen=True)
class WeightedPrompt:
    """A prompt as the text encoder reads it.

    Attributes:
        text: The prompt without its syntax.
        spans: Begin, end and weight of the parts of `text` whose weight is not 1, in their order.
    """

    text: str
    spans: tuple[tuple[int, int, float], ...]


def parse_prompt(key: str, prompt: str) -> WeightedPrompt:
    """Read the weights of a prompt.

    Args:
        key: Config key of the prompt, for messages.
        prompt: The prompt as it was typed, or a part of it between BREAK.

    Returns:
        The text and the weights of its parts; those of nested brackets are multiplied.

    Raises:
        ComposerError: Brackets do not match, or the prompt has syntax that is not read here.
    """
    parts: list[tuple[str, float]] = []
    opened: list[tuple[str, int]] = []  # bracket, and number of the parts before it
    factor: float | None = None
    for match in _PART.finditer(prompt):
        sign = match[0]
        if sign in ("(", "["):
            opened.append((sign, len(parts)))
        elif match[1] is not None and opened and opened[-1][0] == "(":
            factor = float(match[1])
        elif sign in (")", "]"):
            if not opened or opened[-1][0] != {")": "(", "]": "["}[sign]:
                raise _unmatched(key, prompt, sign, "opens")
            begin = opened.pop()[1]
            _refuse_by_step(key, prompt, sign, parts[begin:])
            factor = factor if factor is not None else MORE if sign == ")" else LESS
            parts[begin:] = [(text, weight * factor) for text, weight in parts[begin:]]
            factor = None
        else:
            parts.append((sign[1:] if len(sign) == 2 and sign[0] == "\\" else sign, 1.0))
    if opened:
        raise _unmatched(key, prompt, opened[-1][0], "closes")
    return WeightedPrompt("".join(text for text, _ in parts), _spans(parts))


def split_breaks(prompt: str) -> list[str]:
    """Split a prompt into the parts that the text encoder reads in windows of their own.

    Args:
        prompt: The prompt as it was typed.

    Returns:
        The parts between the words BREAK, at least one.
    """
    return _BREAK.split(prompt)


def has_breaks(prompt: str) -> bool:
    """Return whether a prompt has the word BREAK.

    Args:
        prompt: The prompt as it was typed.
    """
    return _BREAK.search(prompt) is not None


def check_prompts(prompts: Sequence[str], negative_prompts: Sequence[str | None]) -> None:
    """Refuse prompts that can't be read.

    Args:
        prompts: Prompts as they were typed.
        negative_prompts: Negative prompts; None entries are ignored.

    Raises:
        ComposerError: The syntax of a prompt is wrong, or not read here.
    """
    for key, texts in (("prompt", prompts), ("negative_prompt", negative_prompts)):
        for text in dict.fromkeys(texts):
            for part in split_breaks(text or ""):
                parse_prompt(key, part)


def _spans(parts: Sequence[tuple[str, float]]) -> tuple[tuple[int, int, float], ...]:
    spans, begin = [], 0
    for text, weight in parts:
        if weight != 1:
            spans.append((begin, begin + len(text), weight))
        begin += len(text)
    return tuple(spans)


def _refuse_by_step(key: str, prompt: str, sign: str, parts: Sequence[tuple[str, float]]) -> None:
    text = "".join(part for part, _ in parts)
    if sign == "]" and _BY_STEP.search(text):
        reason = (
            f"prompt_syntax=weights does not change words from step to step: write \\[ \\] around {text!r} for text"
        )
        raise ComposerError(key, prompt, reason)


def _unmatched(key: str, prompt: str, sign: str, missing: str) -> ComposerError:
    reason = f"has a {sign} that nothing {missing}: write \\{sign} for the sign itself, or use prompt_syntax=text"
    return ComposerError(key, prompt, reason)
