"""What tasks share: reading their root keys into a Request, and the Start that they hand to the loop."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from composer.callbacks.base import StepCallback
from composer.checkpoint import Checkpoint
from composer.errors import ComposerError, suggest
from composer.families.base import Family
from composer.sampler import Sampler
from composer.spec import Request

if TYPE_CHECKING:
    from torch import Tensor

SEEDS = 2**63
#: A drawn seed is short enough to be typed again.
DRAWN = 2**32


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where denoising begins: latents x_T as the scheduler wants them, and callbacks that hold the task's terms."""

    latents: Tensor
    callbacks: Mapping[str, StepCallback] = field(default_factory=lambda: MappingProxyType({}))


class Task:
    """One job. `keys` are what it takes beside steps, seed, seed_step and images; `text` whether it needs a prompt."""

    keys: ClassVar[tuple[str, ...]] = ()
    text: ClassVar[bool] = True

    def request(self, values: Mapping[str, Any], checkpoint: Checkpoint) -> Request:
        """Settle the root keys.

        Raises:
            ComposerError: a key that the task does not take, or a value out of range.
        """
        known = ("steps", "seed", "seed_step", "images", *self.keys)
        for key, value in values.items():
            if key not in known:
                raise ComposerError(key, value, f"this task does not take it.{suggest(key, known)}", known)
        values = {**dict.fromkeys(known), **values}  # a key taken out with `~` counts as null
        prompts = self.prompts(values)
        images = whole("images", values["images"], 1)
        first, step = seed(values["seed"]), whole("seed_step", values["seed_step"], 0)
        prompts = [prompt for prompt in prompts for _ in range(images)]
        seeds = tuple(first + i * step for i in range(len(prompts)))
        if seeds[-1] >= SEEDS:
            raise ComposerError("seed", values["seed"], "the last picture's seed would be 2^63 or more")
        height, width = (self.side(key, values.get(key), own, checkpoint) for key, own in zip(("height", "width"), checkpoint.size))
        # diffusers counts `steps_offset` on top: as many steps as were trained would look one timestep too far
        most = checkpoint.scheduler.get("num_train_timesteps", 1000) - checkpoint.scheduler.get("steps_offset", 0)
        return Request(
            prompts=tuple(prompts),
            negative_prompts=self.negatives(values, len(prompts), images),
            seeds=seeds,
            steps=whole("steps", values["steps"], 1, most),
            height=height,
            width=width,
        )

    def prompts(self, values: Mapping[str, Any]) -> list[str]:
        return texts("prompt", values["prompt"]) if self.text else [""]

    def negatives(self, values: Mapping[str, Any], batch: int, images: int) -> tuple[str | None, ...]:
        given = values.get("negative_prompt")
        if given is None or isinstance(given, str):
            return (given,) * batch
        each = texts("negative_prompt", given)
        if len(each) * images != batch:
            raise ComposerError("negative_prompt", given, f"give one for all prompts or one for each: {len(each)} for {batch // images}")
        return tuple(text for text in each for _ in range(images))

    def side(self, key: str, value: Any, own: int, checkpoint: Checkpoint) -> int:
        if value is None:
            return own
        side, multiple = whole(key, value, 1), checkpoint.multiple
        if side % multiple:
            near = [n for n in (side // multiple * multiple, -(-side // multiple) * multiple) if n]
            raise ComposerError(key, value, f"must be a multiple of {multiple} pixels for this model: {' or '.join(map(str, near))}")
        return side

    def start(self, family: Family, sampler: Sampler, request: Request) -> Start:
        """The first latents; the sampler's timesteps are set."""
        raise TypeError(f"{type(self).__name__} does not say where to start")


def whole(key: str, value: Any, low: int, high: int | None = None) -> int:
    """A whole number in a range."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    fits = isinstance(value, int) and not isinstance(value, bool) and value >= low and (high is None or value <= high)
    if not fits:
        limits = f"{low} or more" if high is None else f"from {low} to {high}"
        raise ComposerError(key, value, f"must be a whole number, {limits}")
    return value


def seed(value: Any) -> int:
    """0 … 2⁶³−1; null or −1 draws one."""
    if value is None or value == -1:
        return secrets.randbelow(DRAWN)
    return whole("seed", value, 0, SEEDS - 1)


def texts(key: str, value: Any) -> list[str]:
    """One text or a list of them."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
        return value
    raise ComposerError(key, value, "must be a text, or a list of texts: \"['one','two']\"")
