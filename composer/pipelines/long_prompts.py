"""prompt_overflow=…: what becomes of a prompt that is longer than the text encoder reads; diffusers drops the rest with
a line in a log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from composer.callbacks.request import Request
from composer.errors import ComposerError, shorten


def settle(reader: tuple[Any, int] | None, request: Request, mode: str, tell: Callable[[str], None]) -> None:
    """Say what is dropped of a request's texts, or refuse it.

    Args:
        reader: the tokenizer, and how many tokens the encoder reads; None where all is read.

    Raises:
        ComposerError: something would be dropped, and mode is error.
    """
    if reader is None or mode == "chunk":
        return
    for key, texts in (("prompt", request.prompts), ("negative_prompt", request.negative_prompts)):
        for text in dict.fromkeys(texts):
            room, rest, where = split(*reader, text or "")
            if not rest:
                continue
            lost = f'{room} tokens are read, and the last {rest} are not: "{shorten(text[where:], 160)}"'
            if mode == "error":
                raise ComposerError(key, text, f"{lost}; say it in fewer words, or prompt_overflow=chunk")
            tell(f"{key}: {lost} (prompt_overflow=chunk reads all)")


def split(tokenizer: Any, length: int, text: str) -> tuple[int, int, int]:
    """Tokens that fit into an encoder's `length` beside its own, how many the text has beyond them, and where these
    begin.
    """
    room = length - tokenizer.num_special_tokens_to_add()
    if len(text.encode()) <= room:  # no token is less than a byte
        return room, 0, len(text)
    places = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False).offset_mapping
    return (room, len(places) - room, places[room][0]) if len(places) > room else (room, 0, len(text))
