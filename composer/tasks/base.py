"""What tasks share: reading their root keys into a Request, and the Start that they hand to the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from composer.callbacks.base import StepCallback
from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.config.foreign_words import KEYS, not_yet, plain
from composer.errors import ComposerError, suggest
from composer.families.base import Family
from composer.media.formats import Kind
from composer.sampling.sampler import Sampler
from composer.system.constraints import Ge, Interval
from composer.tasks import marks
from composer.tasks.values import SEEDS, negatives, require_integer, seed, texts
from composer.tiny import known

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

EMBEDDED = "embedded"
SIDES = ("height", "width")
#: Images to a prompt, and pixels along a side: more is a slip of the hand.
MOST, LONGEST = 100_000, 16_384


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where denoising begins: latents x_T as the scheduler wants them, and callbacks that hold the task's terms.

    inputs: `Step.inputs` of every step, by name (mask, masked_latents, depth). callbacks: their names have a dot, as no name in
    a
    config has, so that none of the user's takes their place.
    """

    latents: Tensor
    inputs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    callbacks: Mapping[str, StepCallback] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a task takes beside text: the images' size in pixels, its inputs by key, and what the user should know.

    sides: those of height and width that are certain, see `Request.sides`.
    """

    height: int
    width: int
    values: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()
    sides: tuple[str, ...] = SIDES


class Task:
    """One job.

    keys: what it takes beside steps, seed, seed_step and images. conditioned_on: of the models that can do it, see
    `FamilyInfo.conditioned_on`.
    roles: kinds of checkpoints that can do it, see `Checkpoint.role`. fills: fields of a step that it alone gives a
    value. makes: kind of media that come out.
    pipeline_kind: kind of diffusers pipelines that do it where a checkpoint has no native family, see
    `composer.checks.pipeline_tasks`; None where the checkpoint's own class is called, whatever it does.
    """

    keys: ClassVar[tuple[str, ...]] = ()
    conditioned_on: ClassVar[str | None] = "text"
    roles: ClassVar[tuple[str, ...]] = ("plain",)
    fills: ClassVar[frozenset[str]] = frozenset()
    makes: ClassVar[Kind] = "image"
    pipeline_kind: ClassVar[str | None] = None

    def request(self, values: Mapping[str, Any], checkpoint: Checkpoint) -> Request:
        """Settle the root keys.

        Raises:
            ComposerError: a key that the task does not take, or a value out of range.
        """
        known = ("steps", "seed", "seed_step", "images", *self.keys)
        for key, value in values.items():
            if key not in known:
                meant = KEYS.get(plain(key))
                near = not_yet(key) or (f"Did you mean {meant}?" if meant else suggest(key, known).strip())
                raise ComposerError(key, value, f"this task does not take it. {near}".strip(), known)
        values = {**dict.fromkeys(known), **values}  # a key taken out with `~` counts as null
        images = require_integer("images", values["images"], Annotated[int, Interval(ge=1, le=MOST)])
        prompts = [prompt for prompt in self.prompts(values) for _ in range(images)]
        first = seed(values["seed"])
        step = require_integer("seed_step", values["seed_step"], Annotated[int, Ge(0)])
        seeds = tuple(first + i * step for i in range(len(prompts)))
        if seeds[-1] >= SEEDS:
            raise ComposerError("seed", values["seed"], "the last image's seed would be 2^64 or more")
        # diffusers counts `steps_offset` on top: as many steps as were trained would look one timestep too far
        most = checkpoint.scheduler.get("num_train_timesteps", 1000) - checkpoint.scheduler.get("steps_offset", 0)
        steps = require_integer("steps", values["steps"], Annotated[int, Interval(ge=1, le=most)])
        skip = self.skip(values, steps, checkpoint)
        inputs = self.inputs(values, len(prompts), images, checkpoint)
        negative = negatives(values, len(prompts), images)
        return Request(
            prompts=tuple(prompts),
            negative_prompts=negative,
            seeds=seeds,
            steps=steps,
            height=inputs.height,
            width=inputs.width,
            steps_skipped=skip,
            sides=inputs.sides,
            inputs=inputs.values,
            notes=(*inputs.notes, *of_texts(prompts, negative, checkpoint)),
        )

    def prompts(self, values: Mapping[str, Any]) -> list[str]:
        return texts("prompt", values["prompt"]) if self.conditioned_on == "text" else [""]

    def skip(self, values: Mapping[str, Any], steps: int, checkpoint: Checkpoint) -> int:
        """Steps left out at the start."""
        return 0

    def inputs(self, values: Mapping[str, Any], batch: int, images: int, checkpoint: Checkpoint) -> Inputs:
        """Read what the task takes beside text; `images` for each of the `batch / images` prompts."""
        height, width = (side(key, values.get(key), own, checkpoint) for key, own in zip(SIDES, checkpoint.size))
        return Inputs(height=height, width=width, sides=_certain_sides(values, checkpoint))

    def start(self, family: Family, sampler: Sampler, request: Request) -> Start:
        """The first latents; the sampler's timesteps are set."""
        raise TypeError(f"{type(self).__name__} does not say where to start")

    def next_pass(self, request: Request, images: Sequence[Image]) -> tuple[Task, Request] | None:
        """A second pass over what the first one made, or None."""


def of_texts(prompts: Sequence[str], negative: Sequence[str | None], checkpoint: Checkpoint) -> tuple[str, ...]:
    """What the user should know of the texts."""
    strange = known.note(prompts) if checkpoint.source.startswith(f"{EMBEDDED}:") else ()
    return (*marks.note([*prompts, *negative]), *strange)


def _certain_sides(values: Mapping[str, Any], checkpoint: Checkpoint) -> tuple[str, ...]:
    """Both sides, or those that the user set where only the pipeline knows its size."""
    if checkpoint.defaults is None or checkpoint.defaults.size is not None:
        return SIDES
    return tuple(key for key in SIDES if values.get(key) is not None)


def side(key: str, value: Any, own: int, checkpoint: Checkpoint) -> int:
    """A height or width in pixels: as given, where the model can make it, else its own."""
    if value is None:
        return own
    pixels = require_integer(key, value, Annotated[int, Interval(ge=1, le=LONGEST)])
    multiple = checkpoint.size_multiple
    if pixels % multiple:
        near = [n for n in (pixels // multiple * multiple, -(-pixels // multiple) * multiple) if n]
        raise ComposerError(
            key, value, f"must be a multiple of {multiple} pixels for this model: {' or '.join(map(str, near))}"
        )
    return pixels
