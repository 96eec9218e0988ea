"""prompt_overflow=…: prompts that are longer than the text encoder reads; diffusers truncates them with a log line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from composer.callbacks.request import Request
from composer.errors import ComposerError, shorten

#: Special tokens of each tokenizer, which take longer to count than a prompt.
_specials: WeakKeyDictionary[Any, int] = WeakKeyDictionary()


def check_prompt_length(
    tokenizer: tuple[Any, int] | None, request: Request, mode: str, warn: Callable[[str], None]
) -> None:  # fmt: skip
    """Warn of the part of a request's texts that the text encoder does not read, or refuse the request.

    Args:
        tokenizer: A fast tokenizer and the encoder's limit in tokens; ``None`` without a limit.
        request: Prompts and negative prompts.
        mode: ``"warn"``, ``"error"``, or ``"chunk"`` where everything is read.
        warn: Receives a note for each text that is truncated.

    Raises:
        ComposerError: A text is too long, and `mode` is ``"error"``.
    """
    if tokenizer is None or mode == "chunk":
        return
    for key, texts in (("prompt", request.prompts), ("negative_prompt", request.negative_prompts)):
        for text in dict.fromkeys(text or "" for text in texts):
            limit, excess, offset = split_at_limit(*tokenizer, text)
            if not excess:
                continue
            lost = f'{limit} tokens are read, and the last {excess} are not: "{shorten(text[offset:], 160)}"'
            if mode == "error":
                raise ComposerError(key, text, f"{lost}; say it in fewer words, or prompt_overflow=chunk")
            warn(f"{key}: {lost} (prompt_overflow=chunk reads all)")


def split_at_limit(tokenizer: Any, length: int, text: str) -> tuple[int, int, int]:
    """Find the part of a text beyond an encoder's limit.

    Args:
        tokenizer: A fast tokenizer.
        length: The encoder's limit in tokens, its special tokens included.
        text: Text of any length.

    Returns:
        Number of tokens that are read beside the special ones, number of tokens beyond them, and the index of the
        first character that is not read.
    """
    limit = length - _special_tokens(tokenizer)
    if len(text.encode()) <= limit:  # no token is less than a byte
        return limit, 0, len(text)
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False).offset_mapping
    return (limit, len(offsets) - limit, offsets[limit][0]) if len(offsets) > limit else (limit, 0, len(text))


def _special_tokens(tokenizer: Any) -> int:
    """Number of tokens that a tokenizer adds to a text."""
    if tokenizer not in _specials:
        _specials[tokenizer] = tokenizer.num_special_tokens_to_add()
    return _specials[tokenizer]
