"""Embeddings of prompts whose words have weights: moved away from, or towards, those of an empty prompt.

The arithmetic is that of ComfyUI: hidden = (hidden - empty) · weight + empty, for each position.
https://github.com/comfyanonymous/ComfyUI/blob/master/comfy/sd1_clip.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from composer.callbacks.base import Conditioning, Embedding
from composer.callbacks.request import Request
from composer.families.base import Family
from composer.families.chunks import join_windows
from composer.families.prompt_weights import WeightedPrompt, parse_prompt, split_breaks


def encode_prompts(family: Family, request: Request, do_classifier_free_guidance: bool) -> Conditioning:
    """Encode the texts of a request in the syntax that the family's settings name.

    Args:
        family: Family of the run.
        request: Prompts and negative prompts as they were typed.
        do_classifier_free_guidance: Whether to encode the negative prompts too.

    Returns:
        Embeddings with one row for each image. Positions of weight 1, and pooled embeddings, are those of the text
        without its syntax, to the bit. The parts of a text between BREAK are read in windows of their own, whose
        embeddings are concatenated; shorter texts of the batch get empty windows.
    """
    windows = [_encode_window(family, window, do_classifier_free_guidance) for window in split_windows(family, request)]
    return windows[0] if len(windows) == 1 else join_windows(windows)


def split_windows(family: Family, request: Request) -> list[Request]:
    """Split the texts of a request at BREAK.

    Args:
        family: Family of the run, whose settings name the syntax.
        request: Prompts and negative prompts as they were typed.

    Returns:
        A request for each window, with texts that have no BREAK.
    """
    if family.settings.prompt_syntax == "text":
        return [request]
    prompts = [split_breaks(text) for text in request.prompts]
    negatives = [None if text is None else split_breaks(text) for text in request.negative_prompts]
    count = max(len(parts) for parts in (*prompts, *negatives) if parts is not None)
    return [
        replace(
            request,
            prompts=tuple(_part(parts, index) for parts in prompts),
            negative_prompts=tuple(None if parts is None else _part(parts, index) for parts in negatives),
        )
        for index in range(count)
    ]


def _part(parts: Sequence[str], index: int) -> str:
    return parts[index] if index < len(parts) else ""


def _encode_window(family: Family, request: Request, do_classifier_free_guidance: bool) -> Conditioning:
    """Encode texts that are read in one window."""
    plain = plain_request(family, request)
    conditioning = family.encode(plain, do_classifier_free_guidance)
    if family.settings.prompt_syntax == "text":
        return conditioning
    positives = [parse_prompt("prompt", text) for text in request.prompts]
    negatives = [parse_prompt("negative_prompt", text or "") for text in request.negative_prompts]
    if not any(prompt.spans for prompt in [*positives, *negatives]):
        return conditioning
    alone = replace(plain, prompts=("",), negative_prompts=(None,), seeds=plain.seeds[:1])
    empty = family.encode(alone, False).require_positive()
    positive = _apply(family, conditioning.require_positive(), empty, positives)
    if conditioning.negative is None:
        return replace(conditioning, positive=positive)
    return replace(conditioning, positive=positive, negative=_apply(family, conditioning.negative, empty, negatives))


def plain_request(family: Family, request: Request) -> Request:
    """Take the syntax of weights out of a request's texts.

    Args:
        family: Family of the run, whose settings name the syntax.
        request: Prompts and negative prompts as they were typed.

    Returns:
        The request with the texts that the text encoder reads.
    """
    if family.settings.prompt_syntax == "text":
        return request
    negatives = (text and parse_prompt("negative_prompt", text).text for text in request.negative_prompts)
    prompts = tuple(parse_prompt("prompt", text).text for text in request.prompts)
    return replace(request, prompts=prompts, negative_prompts=tuple(negatives))


def plain_texts(family: Family, prompt: str) -> list[str]:
    """Take the syntax of weights out of a prompt.

    Args:
        family: Family of the run, whose settings name the syntax.
        prompt: A prompt as it was typed.

    Returns:
        The texts that the text encoder reads, one for each window.
    """
    if family.settings.prompt_syntax == "text":
        return [prompt]
    return [parse_prompt("prompt", part).text for part in split_breaks(prompt)]


def _apply(family: Family, embedding: Embedding, empty: Embedding, prompts: Sequence[WeightedPrompt]) -> Embedding:
    """Apply weights to the hidden states, computed in fp32."""
    if not any(prompt.spans for prompt in prompts):
        return embedding
    rows = [
        [weight for tokenizer, length in family.token_positions for weight in _weights(tokenizer, length, prompt)]
        for prompt in prompts
    ]
    weights = torch.tensor(rows, device=embedding.hidden.device)[..., None]
    hidden, base = embedding.hidden.float(), empty.hidden.float()
    moved = ((hidden - base) * weights + base).to(embedding.hidden.dtype)
    return replace(embedding, hidden=torch.where(weights == 1, embedding.hidden, moved))


def _weights(tokenizer: Any, length: int, prompt: WeightedPrompt) -> list[float]:
    """Weight of each position; a token has that of its last character, as it may begin with the space before it."""
    if tokenizer is None:
        return [1.0] * length
    offsets = tokenizer(
        prompt.text, padding="max_length", max_length=length, truncation=True, return_offsets_mapping=True
    ).offset_mapping
    return [
        next((weight for first, last, weight in prompt.spans if begin < end and first < end <= last), 1.0)
        for begin, end in offsets
    ]
