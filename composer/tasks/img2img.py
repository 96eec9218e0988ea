"""Images from an image: start from its latents with noise on them. https://arxiv.org/abs/2108.01073"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar

from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.errors import ComposerError
from composer.families.base import Family
from composer.sampling.sampler import Sampler
from composer.system.constraints import Fraction, require
from composer.tasks.base import Inputs, Start, Task, side
from composer.tasks.values import each

if TYPE_CHECKING:
    from PIL.Image import Image


class Img2Img(Task):
    keys: ClassVar[tuple[str, ...]] = ("prompt", "negative_prompt", "image", "strength", "height", "width")
    pipeline_kind = "img2img"
    #: The key of the image that gives the size.
    source: ClassVar[str] = "image"

    def skip(self, values: Mapping[str, Any], steps: int, checkpoint: Checkpoint) -> int:
        strength = float(require("strength", values["strength"], Fraction))
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
        """Height and width in pixels: as asked for, else the images' own, rounded down to what the model can make; and
        what to say.
        """
        from composer.images.reading import is_sample

        notes: tuple[str, ...] = ()
        asked, own = [values.get(key) for key in ("height", "width")], checkpoint.size
        # a sample comes in the size that the model generates best
        if None in asked and not all(is_sample(one) for one in several(values[self.source])):
            own, notes = natural(loaded, checkpoint, self.source)
        height, width = (
            side(key, value, mine, checkpoint) for key, value, mine in zip(("height", "width"), asked, own)
        )
        return height, width, notes

    def read_images(self, key: str, values: Mapping[str, Any], batch: int, images: int) -> tuple[Image, ...]:
        """One RGB image for all prompts or one for each → one for each of the batch."""
        from composer.images.reading import read_image

        return each(key, [read_image(key, one) for one in several(values[key])], batch, images)

    def start(self, family: Family, sampler: Sampler, request: Request) -> Start:
        from composer.images.pixels import to_pixels

        sampler.skip(request.steps_skipped)
        clean = family.encode_image(to_pixels(request.inputs["image"]), sampler.generators)
        noise = family.start_noise(request, sampler.generators)
        return Start(latents=sampler.noised(clean, noise, 0))


def several(value: Any) -> list[Any]:
    return value if isinstance(value, list) and value else [value]


def natural(
    loaded: Sequence[Image], checkpoint: Checkpoint, key: str = "image"
) -> tuple[tuple[int, int], tuple[str, ...]]:  # fmt: skip
    """The images' own height and width, down to a multiple of what the model makes."""
    from composer.images.reading import check_size

    first, multiple = loaded[0], checkpoint.size_multiple
    if any(image.size != first.size for image in loaded):
        raise ComposerError(key, None, "these images have different sizes: set height and width for all of them")
    check_size(key, first, multiple)
    height, width = first.height // multiple * multiple, first.width // multiple * multiple
    return (height, width), scaling(key, first, height, width, f", multiples of {multiple}")


def scaling(key: str, image: Image, height: int, width: int, why: str = "") -> tuple[str, ...]:
    """What to say where an image does not keep its size."""
    if image.size == (width, height):
        return ()
    return (f"{key}: scaled from {image.width} x {image.height} to {width} x {height} pixels{why}",)
