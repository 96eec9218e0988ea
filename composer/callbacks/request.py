"""Request of one batch of images, complete, as tasks and callbacks receive it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Request:
    """One batch of images.

    Attributes:
        prompts: One prompt an image.
        negative_prompts: One negative prompt an image; `None` where none is given.
        seeds: One seed an image, in `[0, 2⁶⁴ − 1]`.
        steps: Number of denoising steps. Second-order schedulers iterate more often.
        height: Height of the images, in pixels; an estimate where it is not among `sides`, and 0 for sounds.
        width: Width of the images, in pixels; as the height.
        steps_skipped: Steps omitted at the start, when a task begins from an image.
        inputs: Further inputs of the task by config key; images as tuples of one an image, and `references` as a tuple
            of one tuple an image.
        sides: Those of `height` and `width` that are certain before the run. A hosted pipeline that takes its size from
            its input images chooses the others.
        notes: Notes for the user, such as about a size that was rounded. They are printed and recorded.
    """

    prompts: tuple[str, ...]
    negative_prompts: tuple[str | None, ...]
    seeds: tuple[int, ...]
    steps: int
    height: int
    width: int
    steps_skipped: int = 0
    sides: tuple[str, ...] = ("height", "width")
    inputs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()

    @property
    def batch(self) -> int:
        """Number of images."""
        return len(self.seeds)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width in pixels of each pass: one, or that of a second which generates larger besides."""
        second = self.inputs.get("second")
        first = (self.height, self.width)
        return (first, (second["height"], second["width"])) if second else (first,)
