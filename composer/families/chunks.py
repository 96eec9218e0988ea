"""Prompts of any length for CLIP: read in windows whose embeddings are concatenated.

A window has 75 tokens between its start and end token, as is usual
(https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/Features#infinite-prompt-length). Shorter texts of a
batch, and the negative ones, get empty windows, so that all embeddings have one length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch

from composer.callbacks.base import Conditioning, Embedding


def encode_in_windows(pipe: Any, texts: Sequence[str], encode: Callable[[Any], Conditioning]) -> Conditioning:
    """Encode texts window by window.

    Args:
        pipe: A diffusers pipeline; it is not changed.
        texts: All texts that `encode` reads, which decide the number of windows.
        encode: Gets a copy of `pipe` whose tokenizers read one window only.

    Returns:
        Embeddings with the hidden states `(B, windows · 77, width)`; the pooled embedding is the first window's.
    """
    count = max(len(split_windows(_tokenizers(pipe)[0][1], text)) for text in texts)
    windows = [encode(_window_pipe(pipe, index)) for index in range(count)]
    return join_windows(windows)


def join_windows(windows: Sequence[Conditioning]) -> Conditioning:
    """Concatenate the embeddings of windows along their positions.

    Args:
        windows: Embeddings of the same texts' windows, with hidden states `(B, positions, width)` each.

    Returns:
        Embeddings with the hidden states `(B, all positions, width)`; the pooled embedding is the first window's.
    """
    positives = [window.require_positive() for window in windows]
    if windows[0].negative is None:
        return Conditioning(positive=_concat(positives))
    return Conditioning(
        positive=_concat(positives), negative=_concat([window.require_negative() for window in windows])
    )


def split_windows(tokenizer: Any, text: str) -> list[list[int]]:
    """Split a text into windows of tokens.

    Args:
        tokenizer: A CLIP tokenizer.
        text: Text of any length.

    Returns:
        At least one list of at most `tokenizer.model_max_length` token ids, each with start and end token.
    """
    ids = tokenizer(text, add_special_tokens=False).input_ids
    length = tokenizer.model_max_length - 2
    return [_window(tokenizer, ids[i : i + length]) for i in range(0, len(ids), length)] or [_window(tokenizer, [])]


def pad_window(tokenizer: Any, window: list[int]) -> list[int]:
    """Pad a window to the length of the tokenizer.

    Args:
        tokenizer: A CLIP tokenizer.
        window: Token ids with start and end token.

    Returns:
        `tokenizer.model_max_length` token ids.
    """
    return window + [tokenizer.pad_token_id] * (tokenizer.model_max_length - len(window))


def _window(tokenizer: Any, ids: list[int]) -> list[int]:
    return [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]


def _concat(embeddings: Sequence[Embedding]) -> Embedding:
    return replace(embeddings[0], hidden=torch.cat([embedding.hidden for embedding in embeddings], dim=1))


def _tokenizers(pipe: Any) -> list[tuple[str, Any]]:
    names = ("tokenizer", "tokenizer_2")
    return [(name, tokenizer) for name in names if (tokenizer := getattr(pipe, name, None)) is not None]


def _window_pipe(pipe: Any, index: int) -> Any:
    """A copy whose tokenizers read one window; set past diffusers' setter, which would write to the shared config."""
    window_pipe = copy(pipe)
    vars(window_pipe).update({name: _WindowTokenizer(tokenizer, index) for name, tokenizer in _tokenizers(pipe)})
    return window_pipe


class _WindowTokenizer:
    """A tokenizer that reads one window of each text."""

    def __init__(self, tokenizer: Any, index: int) -> None:
        self.tokenizer, self.index = tokenizer, index

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def __call__(self, texts: str | list[str], **settings: Any) -> SimpleNamespace:
        windows = [self._select(text) for text in ([texts] if isinstance(texts, str) else texts)]
        mask = [[1] * len(ids) + [0] * (self.tokenizer.model_max_length - len(ids)) for ids in windows]
        ids = [pad_window(self.tokenizer, window) for window in windows]
        return SimpleNamespace(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))

    def _select(self, text: str) -> list[int]:
        windows = split_windows(self.tokenizer, text)
        return windows[self.index] if self.index < len(windows) else _window(self.tokenizer, [])
