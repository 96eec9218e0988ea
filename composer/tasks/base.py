"""Base class of tasks: root keys of the config become a `Request`, and a start of the denoising loop."""

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
from composer.system.constraints import Interval, require
from composer.tasks import marks
from composer.tasks.limits import SEEDS, Images, Pixels, SeedStep
from composer.tasks.values import negatives, require_integer, seed, texts

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

SIDES = ("height", "width")
#: Key of further arguments of a hosted pipeline's call, such as `arguments.max_sequence_length=256`.
ARGUMENTS = "arguments"


@dataclass(frozen=True, kw_only=True)
class Start:
    """Start of the denoising loop.

    Attributes:
        latents: Noisy latents of the first timestep, scaled as the scheduler expects them.
        inputs: Fields of `Step.inputs` at every step by name, such as `mask`, `masked_latents` and `depth`.
        callbacks: Callbacks that the task needs. Their names contain a dot, which names in a config never do, so they
            cannot collide with the user's.
    """

    latents: Tensor
    inputs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    callbacks: Mapping[str, StepCallback] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Inputs of a task in addition to text.

    Attributes:
        height: Height of the images in pixels.
        width: Width of the images in pixels.
        values: Inputs by key, such as images and masks.
        notes: Lines that are printed for the user.
        sides: Which of height and width are certain, see `Request.sides`.
    """

    height: int
    width: int
    values: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()
    sides: tuple[str, ...] = SIDES


class Task:
    """What a run generates, and from what.

    Attributes:
        keys: Root keys that it takes, beside steps, seed, seed_step and images.
        conditioned_on: What models must be conditioned on, see `FamilyInfo.conditioned_on`.
        roles: Roles of the checkpoints that it can use, see `Checkpoint.role`.
        fills: Fields of a step that only this task sets.
        makes: Kind of media that it generates.
        pipeline_kind: Kind of diffusers pipelines that perform it if a checkpoint has no native family, see
            `composer.checks.pipeline_tasks`; `None` if the checkpoint's own class is called, whatever it does.
    """

    keys: ClassVar[tuple[str, ...]] = ()
    conditioned_on: ClassVar[str | None] = "text"
    roles: ClassVar[tuple[str, ...]] = ("plain",)
    fills: ClassVar[frozenset[str]] = frozenset()
    makes: ClassVar[Kind] = "image"
    pipeline_kind: ClassVar[str | None] = None

    def request(self, values: Mapping[str, Any], checkpoint: Checkpoint) -> Request:
        """Read the root keys.

        Args:
            values: Root key → value; a missing key counts as null.
            checkpoint: The checkpoint.

        Returns:
            A request with one prompt, negative prompt and seed for each image.

        Raises:
            ComposerError: A key is unknown to the task, or a value is out of range.
        """
        known = ("steps", "seed", "seed_step", "images", ARGUMENTS, *self.keys)
        for key, value in values.items():
            if key not in known:
                meant = KEYS.get(plain(key))
                near = not_yet(key) or (f"Did you mean {meant}?" if meant else suggest(key, known).strip())
                raise ComposerError(key, value, f"this task does not take it. {near}".strip(), known)
        values = {**dict.fromkeys(known), **values}  # a key taken out with `~` counts as null
        images = require_integer("images", values["images"], Images)
        prompts = [prompt for prompt in self.prompts(values) for _ in range(images)]
        first = seed(values["seed"])
        step = require_integer("seed_step", values["seed_step"], SeedStep)
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
            inputs={**inputs.values, **further_arguments(values[ARGUMENTS], checkpoint)},
            notes=(*inputs.notes, *marks.note([*prompts, *negative])),
        )

    def prompts(self, values: Mapping[str, Any]) -> list[str]:
        """Read the prompts.

        Args:
            values: Root key → value.

        Returns:
            One text for each group of `images` images; one empty text if the task takes none.
        """
        return texts("prompt", values["prompt"]) if self.conditioned_on == "text" else [""]

    def skip(self, values: Mapping[str, Any], steps: int, checkpoint: Checkpoint) -> int:
        """Determine how many steps are skipped at the start.

        Args:
            values: Root key → value.
            steps: Number of steps.
            checkpoint: The checkpoint.

        Returns:
            Number of skipped steps, in `[0, steps)`.
        """
        return 0

    def inputs(self, values: Mapping[str, Any], batch: int, images: int, checkpoint: Checkpoint) -> Inputs:
        """Read the inputs in addition to text.

        Args:
            values: Root key → value.
            batch: Number of images of the run.
            images: Number of images for each prompt.
            checkpoint: The checkpoint.

        Returns:
            Size and inputs, one of each kind for every image of the batch.

        Raises:
            ComposerError: An input is missing, cannot be read, or has a wrong size.
        """
        height, width = (
            side(key, values.get(key), default, checkpoint) for key, default in zip(SIDES, checkpoint.size)
        )
        return Inputs(height=height, width=width, sides=_certain_sides(values, checkpoint))

    def start(self, family: Family, sampler: Sampler, request: Request) -> Start:
        """Compute the first latents.

        Args:
            family: Family of the loaded models.
            sampler: Sampler with its timesteps set.
            request: The request.

        Returns:
            Latents, inputs of the steps and callbacks.
        """
        raise TypeError(f"{type(self).__name__} does not say where to start")

    def next_pass(self, request: Request, images: Sequence[Image]) -> tuple[Task, Request] | None:
        """Determine a second pass over the results of the first.

        Args:
            request: Request of the first pass.
            images: Its results.

        Returns:
            Task and request of the second pass, or None.
        """


def further_arguments(value: Any, checkpoint: Checkpoint) -> dict[str, Any]:
    """Read the further arguments of a hosted pipeline's call.

    Args:
        value: Name → value; None for none.
        checkpoint: The checkpoint.

    Returns:
        The arguments under their key; nothing if there are none.

    Raises:
        ComposerError: They are no mapping, or the checkpoint's native family, which calls no pipeline, does not take
            one.
    """
    if not value:
        return {}
    if not isinstance(value, Mapping):
        raise ComposerError(ARGUMENTS, value, f"must be names with values: {ARGUMENTS}.max_sequence_length=256")
    if checkpoint.defaults is None:
        return {ARGUMENTS: {name: _of_family(name, one, checkpoint) for name, one in value.items()}}
    return {ARGUMENTS: dict(value)}


def _of_family(name: str, value: Any, checkpoint: Checkpoint) -> float:
    """Read a number that a native family takes beside the keys of the task."""
    taken = checkpoint.family_info.arguments
    if name not in taken:
        reason = f"is for hosted pipelines, and this model has the native family {checkpoint.family}: leave it out"
        raise ComposerError(f"{ARGUMENTS}.{name}", value, reason, sorted(taken))
    lacking = taken[name].lacking(checkpoint.classes, checkpoint.configs)
    if lacking:
        raise ComposerError(f"{ARGUMENTS}.{name}", value, f"is for {lacking}: leave it out")
    return float(require(f"{ARGUMENTS}.{name}", value, Annotated[float, Interval(ge=0, le=taken[name].most)]))


def _certain_sides(values: Mapping[str, Any], checkpoint: Checkpoint) -> tuple[str, ...]:
    """Both sides, or those that the user set where only the pipeline knows its size."""
    if checkpoint.defaults is None or checkpoint.defaults.size is not None:
        return SIDES
    return tuple(key for key in SIDES if values.get(key) is not None)


def side(key: str, value: Any, own: int, checkpoint: Checkpoint) -> int:
    """Read a height or width.

    Args:
        key: `height` or `width`.
        value: The value; null for the default.
        own: Default in pixels.
        checkpoint: The checkpoint.

    Returns:
        Pixels.

    Raises:
        ComposerError: It is out of range, or no multiple of what the model generates.
    """
    if value is None:
        return own
    pixels = require_integer(key, value, Pixels)
    multiple = checkpoint.size_multiple
    if pixels % multiple:
        near = [n for n in (pixels // multiple * multiple, -(-pixels // multiple) * multiple) if n]
        raise ComposerError(
            key, value, f"must be a multiple of {multiple} pixels for this model: {' or '.join(map(str, near))}"
        )
    return pixels
