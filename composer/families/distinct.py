"""What several images of a batch share is computed once: texts that are equal, and input images that are.

A text encoder's last bits depend on how many rows it is given. As diffusers' `num_images_per_prompt`, it gets a row for
each distinct
pair of a prompt and its negative prompt; a family's pooled embeddings are then diffusers' to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from composer.callbacks.base import Conditioning, Embedding
from composer.callbacks.request import Request

if TYPE_CHECKING:
    from torch import Tensor


def places(keys: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """Where each distinct key stands first, and for each key which of the distinct ones it is: a b a → [0, 1], [0, 1,
    0].
    """
    first: dict[Hashable, int] = {}
    for place, key in enumerate(keys):
        first.setdefault(key, place)
    number = {key: n for n, key in enumerate(first)}
    return list(first.values()), [number[key] for key in keys]


def once(
    encode: Callable[[Request, bool], Conditioning], request: Request, contrast: bool, shared: frozenset[str]
) -> Conditioning:
    """What `encode` makes of the request's distinct texts, a row for each image again.

    Args:
        encode: a family's own, of a request and whether negative prompts count.
        shared: names of extra inputs that have no row for each image.
    """
    pairs = [
        (prompt, negative if contrast else None)
        for prompt, negative in zip(request.prompts, request.negative_prompts, strict=True)
    ]
    first, rows = places(pairs)
    if len(first) == len(rows):
        return encode(request, contrast)
    few = {key: tuple(getattr(request, key)[i] for i in first) for key in ("prompts", "negative_prompts", "seeds")}
    made = encode(replace(request, **few), contrast)
    spread = partial(_spread, rows=rows, shared=shared)
    return Conditioning(
        positive=spread(made.positive), negative=None if made.negative is None else spread(made.negative)
    )


def _spread(embedding: Embedding, rows: list[int], shared: frozenset[str]) -> Embedding:
    extra = {name: each if name in shared else each[rows] for name, each in embedding.extra.items()}
    return Embedding(hidden=embedding.hidden[rows], pooled=_rows(embedding.pooled, rows), extra=extra)


def _rows(tensor: Tensor | None, rows: list[int]) -> Tensor | None:
    return None if tensor is None else tensor[rows]
