"""What one batch of images is made of, as tasks and callbacks see it; nothing in it is left open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Request:
    """One batch of images.

    Args:
        prompts, negative_prompts: one for each image; None in negative_prompts is "none given".
        seeds: one for each image, 0 … 2⁶⁴−1.
        steps: denoising steps asked for; second-order schedulers iterate more often.
        height, width: pixels.
        skip: steps left out at the start, where a task begins from an image.
        inputs: what else the task takes, by its config key; one entry an image where it is an image.
        notes: what the user should know, such as a size that had to be rounded; printed and recorded.
    """

    prompts: tuple[str, ...]
    negative_prompts: tuple[str | None, ...]
    seeds: tuple[int, ...]
    steps: int
    height: int
    width: int
    skip: int = 0
    inputs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()

    @property
    def batch(self) -> int:
        return len(self.seeds)
