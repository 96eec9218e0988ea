"""Compute once what several images of a batch have in common: equal texts, and equal input images.

The last bits of a text encoder depend on its batch size. Like diffusers with `num_images_per_prompt`, it gets one row
for each distinct pair of prompt and negative prompt, so that pooled embeddings equal those of diffusers to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from composer.callbacks.base import Conditioning, Embedding
from composer.callbacks.request import Request

if TYPE_CHECKING:
    from torch import Tensor


def index_distinct(keys: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """Find the distinct keys of a sequence.

    Args:
        keys: Any hashable values.

    Returns:
        The index of each distinct key's first occurrence, and for each key the row of its distinct key:
        a b a → ``[0, 1], [0, 1, 0]``.
    """
    first: dict[Hashable, int] = {}
    for index, key in enumerate(keys):
        first.setdefault(key, index)
    row = {key: n for n, key in enumerate(first)}
    return list(first.values()), [row[key] for key in keys]


def encode_distinct(
    encode: Callable[[Request, bool], Conditioning],
    request: Request,
    do_classifier_free_guidance: bool,
    shared_inputs: frozenset[str],
) -> Conditioning:
    """Encode each distinct pair of prompt and negative prompt once.

    Args:
        encode: Encodes a request; the flag says whether negative prompts count.
        request: Prompts and negative prompts, one an image.
        do_classifier_free_guidance: Passed to `encode`.
        shared_inputs: Names in `Embedding.extra` of inputs that have no row for each image.

    Returns:
        Embeddings with one row for each image of the request.
    """
    pairs = [
        (prompt, negative if do_classifier_free_guidance else None)
        for prompt, negative in zip(request.prompts, request.negative_prompts, strict=True)
    ]
    first, rows = index_distinct(pairs)
    if len(first) == len(rows):
        return encode(request, do_classifier_free_guidance)
    conditioning = encode(_select(request, first), do_classifier_free_guidance)
    positive, negative = (
        None if embedding is None else _repeat(embedding, rows, shared_inputs)
        for embedding in (conditioning.positive, conditioning.negative)
    )
    return Conditioning(positive=positive, negative=negative)


def _select(request: Request, indices: Sequence[int]) -> Request:
    """Keep some images of a request."""
    return replace(
        request,
        prompts=tuple(request.prompts[i] for i in indices),
        negative_prompts=tuple(request.negative_prompts[i] for i in indices),
        seeds=tuple(request.seeds[i] for i in indices),
    )


def _repeat(embedding: Embedding, rows: list[int], shared_inputs: frozenset[str]) -> Embedding:
    extra = {name: tensor if name in shared_inputs else tensor[rows] for name, tensor in embedding.extra.items()}
    pooled, mask = _take(embedding.pooled, rows), _take(embedding.mask, rows)
    return Embedding(hidden=embedding.hidden[rows], pooled=pooled, mask=mask, extra=extra)


def _take(tensor: Tensor | None, rows: list[int]) -> Tensor | None:
    return None if tensor is None else tensor[rows]
