"""Images from an image: denoising starts from its noised latents (SDEdit, https://arxiv.org/abs/2108.01073)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar

from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.errors import ComposerError
from composer.families.base import Family
from composer.sampling.sampler import Sampler
from composer.system.constraints import require
from composer.tasks.base import Inputs, Start, Task, side
from composer.tasks.limits import Strength
from composer.tasks.values import each

if TYPE_CHECKING:
    from PIL.Image import Image


class Img2Img(Task):
    """Change an image: `strength` in `(0, 1]` is the fraction of the steps that are taken; at 1 nothing of it remains.

    The images have the size of the input unless another one is set.
    """

    keys: ClassVar[tuple[str, ...]] = ("prompt", "negative_prompt", "image", "strength", "height", "width")
    pipeline_kind = "img2img"
    #: The key of the image that gives the size.
    source: ClassVar[str] = "image"

    def skip(self, values: Mapping[str, Any], steps: int, checkpoint: Checkpoint) -> int:
        strength = float(require("strength", values["strength"], Strength))
        skipped = checkpoint.family_info.steps_to_skip(steps, strength)
        if skipped >= steps:
            least = f"raise it to {ceil(100 / steps) / 100:g}{' or more' * (steps > 1)}, or steps"
            raise ComposerError("strength", values["strength"], f"leaves none of the {steps} steps to take: {least}")
        return skipped

    def inputs(self, values: Mapping[str, Any], batch: int, images: int, checkpoint: Checkpoint) -> Inputs:
        from composer.images.reading import resize_to

        loaded = self.read_images("image", values, batch, images)
        height, width, notes = self.size(values, loaded, checkpoint)
        return Inputs(
            height=height,
            width=width,
            values={
                "image": tuple(resize_to(image, height, width) for image in loaded),
                "strength": float(values["strength"]),
            },
            notes=notes,
        )

    def size(
        self, values: Mapping[str, Any], loaded: Sequence[Image], checkpoint: Checkpoint
    ) -> tuple[int, int, tuple[str, ...]]:  # fmt: skip
        """Determine the size of the images.

        Args:
            values: Root key → value.
            loaded: The input images.
            checkpoint: The checkpoint.

        Returns:
            Height and width in pixels: as set, else those of the images, rounded down to a multiple that the model
            generates; and notes about scaling.
        """
        from composer.images.reading import is_sample

        notes: tuple[str, ...] = ()
        requested, default = [values.get(key) for key in ("height", "width")], checkpoint.size
        # a sample comes in the size that the model generates best
        if None in requested and not all(is_sample(one) for one in several(values[self.source])):
            default, notes = natural(loaded, checkpoint, self.source)
        height, width = (
            side(key, value, pixels, checkpoint) for key, value, pixels in zip(("height", "width"), requested, default)
        )
        return height, width, notes

    def read_images(self, key: str, values: Mapping[str, Any], batch: int, images: int) -> tuple[Image, ...]:
        """Read the input images.

        Args:
            key: Config key.
            values: Root key → value; a single image is used for all prompts.
            batch: Number of images of the run.
            images: Number of images for each prompt.

        Returns:
            One RGB image for each image of the run.
        """
        from composer.images.reading import read_image

        return each(key, [read_image(key, one) for one in several(values[key])], batch, images)

    def start(self, family: Family, sampler: Sampler, request: Request) -> Start:
        from composer.images.pixels import to_pixels

        sampler.skip(request.steps_skipped)
        clean = family.encode_image(to_pixels(request.inputs["image"]), sampler.generators)
        noise = family.start_noise(request, sampler.generators)
        return Start(latents=sampler.noised(clean, noise, 0))


def several(value: Any) -> list[Any]:
    """Return a value of a key that takes one or several.

    Args:
        value: A list or a single value.

    Returns:
        The list, or the value as a list of one.
    """
    return value if isinstance(value, list) and value else [value]


def natural(
    loaded: Sequence[Image], checkpoint: Checkpoint, key: str = "image"
) -> tuple[tuple[int, int], tuple[str, ...]]:  # fmt: skip
    """Determine the size of generated images from the input images.

    Args:
        loaded: The input images.
        checkpoint: The checkpoint.

    Returns:
        Height and width in pixels, rounded down to a multiple that the model generates; and notes about scaling.

    Raises:
        ComposerError: The images differ in size, or are too small or too large.
    """
    from composer.images.reading import check_size

    first, multiple = loaded[0], checkpoint.size_multiple
    if any(image.size != first.size for image in loaded):
        raise ComposerError(key, None, "these images have different sizes: set height and width for all of them")
    check_size(key, first, multiple)
    height, width = first.height // multiple * multiple, first.width // multiple * multiple
    return (height, width), scaling(key, first, height, width, f", multiples of {multiple}")


def scaling(key: str, image: Image, height: int, width: int, why: str = "") -> tuple[str, ...]:
    """Note that an input is scaled.

    Args:
        key: Config key of the input.
        image: The input.
        height: Height of the images of the run in pixels.
        width: Width of the images of the run in pixels.
        why: Reason, appended to the note.

    Returns:
        One line, or none if the size is the same.
    """
    if image.size == (width, height):
        return ()
    return (f"{key}: scaled from {image.width} x {image.height} to {width} x {height} pixels{why}",)
