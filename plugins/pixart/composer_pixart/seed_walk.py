"""task=seed_walk: images on the way from one seed to another, under the same prompt; for every family with a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import torch
from torch import Tensor

from composer import ComposerError, Family, Interval, Request, Start, Task, require

#: One more than the largest seed that torch takes.
SEEDS = 2**64


class SeedWalk(Task):
    """Start image i of n from noise that is i/(n - 1) of the way from `seed` to `to_seed`.

    The noise is interpolated on a sphere, since a straight line would leave the deviation that models are trained with.
    """

    keys = ("prompt", "negative_prompt", "height", "width", "to_seed")

    def request(self, values: Mapping[str, Any], checkpoint: Any) -> Request:
        """Read the root keys.

        Args:
            values: Value by key.
            checkpoint: The model's description.

        Returns:
            The request; its inputs hold both seeds, and the position of each image on the way.

        Raises:
            ComposerError: A key that the task does not take, or a value out of range.
        """
        to_seed = require("to_seed", values.get("to_seed"), Annotated[int, Interval(ge=0, lt=SEEDS)])
        request = super().request(values, checkpoint)
        images = int(values.get("images") or 1)
        if images < 2:
            raise ComposerError("images", images, "must be 2 or more: a walk has a beginning and an end")
        positions = tuple(i % images / (images - 1) for i in range(request.batch))
        walk = {"from_seed": request.seeds[0], "to_seed": to_seed, "position": positions}
        return replace(request, inputs={**request.inputs, **walk})

    def start(self, family: Family, sampler: Any, request: Request) -> Start:
        """Interpolate between the noise of both seeds.

        Args:
            family: The model.
            sampler: The scheduler's side, which scales the noise.
            request: What `request` returned, or some images of it.

        Returns:
            The first latents.
        """
        first, last = (
            family.start_noise(request, tuple(torch.Generator("cpu").manual_seed(seed) for _ in request.seeds))
            for seed in (request.inputs["from_seed"], request.inputs["to_seed"])
        )
        rows = [spherical(a, b, at) for a, b, at in zip(first, last, request.inputs["position"], strict=True)]
        return Start(latents=torch.stack(rows) * sampler.initial_sigma)


def spherical(first: Tensor, last: Tensor, position: float) -> Tensor:
    """Interpolate between two tensors along the arc between them.

    Args:
        first: The tensor at position 0.
        last: The tensor at position 1, of the same shape.
        position: Where between them, [0, 1].

    Returns:
        The interpolated tensor; at 0 and 1 exactly the given ones.
    """
    cosine = torch.nn.functional.cosine_similarity(first.flatten().double(), last.flatten().double(), 0)
    angle = torch.arccos(cosine.clamp(-1, 1))
    if angle < 1e-6:  # the same seed twice
        return first
    weights = torch.sin(torch.stack([(1 - position) * angle, position * angle])) / torch.sin(angle)
    return weights[0].to(first) * first + weights[1].to(first) * last
