"""Prompts of any length for CLIP: read in windows, each from a beginning to an end, and their embeddings put one after
the other.

As the field does it, with 75 tokens to a window
(https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/Features#infinite-prompt-length).
The shorter texts of a batch, and the negative ones, get empty windows: all embeddings are of one length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch

from composer.callbacks.base import Conditioning, Embedding


def in_windows(pipe: Any, texts: Sequence[str], encode: Callable[[Any], Conditioning]) -> Conditioning:
    """What `encode` makes of each window in turn, as one; the pooled embedding is the first window's.

    Args:
        holder: a diffusers pipeline. encode: is given a copy of it, whose tokenizers read one window alone.
    """
    count = max(len(windows(_tokenizers(pipe)[0][1], text)) for text in texts)
    parts = [encode(_reading(pipe, index)) for index in range(count)]
    negative = None if parts[0].negative is None else _joined([part.negative for part in parts])
    return Conditioning(positive=_joined([part.positive for part in parts]), negative=negative)


def windows(tokenizer: Any, text: str) -> list[list[int]]:
    """A text's tokens in rows of at most the tokenizer's length, each with beginning and end; at least one."""
    ids = tokenizer(text, add_special_tokens=False).input_ids
    room = tokenizer.model_max_length - 2
    return [_row(tokenizer, ids[i : i + room]) for i in range(0, len(ids), room)] or [_row(tokenizer, [])]


def padded(tokenizer: Any, row: list[int]) -> list[int]:
    return row + [tokenizer.pad_token_id] * (tokenizer.model_max_length - len(row))


def _row(tokenizer: Any, ids: list[int]) -> list[int]:
    return [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]


def _joined(parts: Sequence[Embedding]) -> Embedding:
    return replace(parts[0], hidden=torch.cat([part.hidden for part in parts], dim=1))


def _tokenizers(pipe: Any) -> list[tuple[str, Any]]:
    return [(name, found) for name in ("tokenizer", "tokenizer_2") if (found := getattr(pipe, name, None)) is not None]


def _reading(pipe: Any, index: int) -> Any:
    """A copy whose tokenizers read that window alone; set past diffusers' setter, which would note them in the
    pipeline's config.
    """
    own = copy(pipe)
    vars(own).update({name: _Reader(tokenizer, index) for name, tokenizer in _tokenizers(pipe)})
    return own


class _Reader:
    """A tokenizer to whom a text is one window of it."""

    def __init__(self, tokenizer: Any, index: int) -> None:
        self.tokenizer, self.index = tokenizer, index

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def __call__(self, texts: str | list[str], **settings: Any) -> SimpleNamespace:
        of_each = [windows(self.tokenizer, text) for text in ([texts] if isinstance(texts, str) else texts)]
        rows = [own[self.index] if self.index < len(own) else _row(self.tokenizer, []) for own in of_each]
        mask = [[1] * len(row) + [0] * (self.tokenizer.model_max_length - len(row)) for row in rows]
        ids = [padded(self.tokenizer, row) for row in rows]
        return SimpleNamespace(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))
