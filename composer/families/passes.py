"""One evaluation of a denoiser: its input with all channels, and both branches of guidance in one batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from composer.callbacks.base import Embedding, Step
from composer.sampling.guidance import Branches


def predict_branches(step: Step, latents: Tensor, forward: Callable[[Tensor, Embedding], Tensor]) -> Branches:
    """Evaluate a denoiser for the prompts and, where they have conditioning, the negative prompts.

    Args:
        step: Conditioning.
        latents: The denoiser's input `(B, C + extra, h, w)`.
        forward: (model input, embedding) → prediction.

    Returns:
        Predictions `(B, C, h, w)`.
    """
    positive, negative = step.conditioning.require_positive(), step.conditioning.negative
    if negative is None:
        return Branches(forward(latents, positive))
    # both in one batch, as diffusers does it: one after the other differs by 3e-5
    predictions = forward(torch.cat([latents] * 2), concat_embeddings(negative, positive))
    negative_branch, positive_branch = predictions.chunk(2)
    return Branches(positive_branch, negative_branch)


def concat_inputs(step: Step) -> Tensor:
    """Concatenate the inputs of inpainting and depth models along the channels.

    Args:
        step: Model input `(B, C, h, w)`, with mask, masked latents or depth.

    Returns:
        The denoiser's input `(B, C + extra, h, w)`.
    """
    inputs = [tensor for tensor in (step.mask, step.masked_latents, step.depth) if tensor is not None]
    return torch.cat([step.model_input, *inputs], dim=1)


def concat_embeddings(first: Embedding, second: Embedding) -> Embedding:
    """Concatenate two batches of embeddings.

    Args:
        first: Embeddings of B texts.
        second: Embeddings of B texts, with the same fields.

    Returns:
        Embeddings of 2 B texts.
    """
    pooled = None
    if first.pooled is not None and second.pooled is not None:
        pooled = torch.cat([first.pooled, second.pooled])
    mask = None
    if first.mask is not None and second.mask is not None:
        mask = torch.cat([first.mask, second.mask])
    extra = {name: torch.cat([first.extra[name], second.extra[name]]) for name in first.extra}
    return Embedding(hidden=torch.cat([first.hidden, second.hidden]), pooled=pooled, mask=mask, extra=extra)
