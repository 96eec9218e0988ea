"""What goes through the model in one step: its input with all channels, and both branches of guidance at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from composer.callbacks.base import Embedding, Step
from composer.sampling.guidance import Branches


def branches(step: Step, more: int, forward: Callable[[Tensor, Embedding], Tensor]) -> Branches:
    """Predictions (B, C, h, w) for the prompts and, where there is conditioning for them, the negative prompts.

    more: input channels that the model takes beside the noisy latents. forward: (model input, embedding) → prediction.
    """
    positive, negative = step.conditioning.positive, step.conditioning.negative
    latents = with_inputs(step) if more else step.model_input
    if negative is None:
        return Branches(forward(latents, positive))
    # both in one pass, as diffusers does it: one after the other differs by 3e-5
    negative_branch, positive_branch = forward(torch.cat([latents] * 2), joined(negative, positive)).chunk(2)
    return Branches(positive_branch, negative_branch)


def with_inputs(step: Step) -> Tensor:
    """The model's input with the channels that inpainting and depth models take besides."""
    more = [each for each in (step.mask, step.masked_latents, step.depth) if each is not None]
    return torch.cat([step.model_input, *more], dim=1)


def joined(first: Embedding, second: Embedding) -> Embedding:
    """Two batches of embeddings as one of twice the size."""
    pooled = None if first.pooled is None else torch.cat([first.pooled, second.pooled])
    extra = {name: torch.cat([first.extra[name], second.extra[name]]) for name in first.extra}
    return Embedding(hidden=torch.cat([first.hidden, second.hidden]), pooled=pooled, extra=extra)
