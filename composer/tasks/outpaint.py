"""Extend an image beyond its edges: inpainting with the margins as the mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from composer.checkpoints.checkpoint import Checkpoint
from composer.errors import ComposerError
from composer.tasks.base import Inputs
from composer.tasks.img2img import Img2Img, several
from composer.tasks.inpaint import Inpaint
from composer.tasks.limits import Margin
from composer.tasks.values import require_integer


class Outpaint(Inpaint):
    """Inpainting of margins around an image.

    Attributes:
        seam: Wider than that of inpainting, since shapes that the edges cut continue in the margins.
    """

    keys: ClassVar[tuple[str, ...]] = (*Img2Img.keys, "margins", "blur", "keep_unmasked", "match_tones")
    seam = 32

    def inputs(self, values: Mapping[str, Any], batch: int, images: int, checkpoint: Checkpoint) -> Inputs:
        """Extend the images to canvases; height and width are those of the canvas.

        Args:
            values: Root key → value; `margins` are pixels.
            batch: Number of images of the run.
            images: Number of images for each prompt.
            checkpoint: The checkpoint.

        Returns:
            Canvases, masks that are white in the margins, and the size.

        Raises:
            ComposerError: Margins leave no pixels to the image, or images differ in size.
        """
        from composer.images.masks import pad_for_outpainting
        from composer.images.reading import is_sample, resize_to

        left, top, right, bottom = margins(values["margins"])
        loaded = self.read_images("image", values, batch, images)
        requested = values.get("height"), values.get("width")
        if requested == (None, None) and all(is_sample(one) for one in several(values["image"])):
            requested = checkpoint.size
        if requested != (None, None):
            base = super(Img2Img, self).inputs(values, batch, images, checkpoint)
            inner = base.height - top - bottom, base.width - left - right
            if min(inner) < 1:
                raise ComposerError(
                    "margins", values["margins"], f"leave nothing of {base.width} x {base.height} pixels to the image"
                )
            loaded = tuple(resize_to(image, *inner) for image in loaded)
        multiple = checkpoint.size_multiple
        first = loaded[0]
        if any(image.size != first.size for image in loaded):
            raise ComposerError(
                "image", values["image"], "these images have different sizes: set height and width of the result"
            )
        more = -(first.width + left + right) % multiple, -(first.height + top + bottom) % multiple
        right, bottom = right + more[0], bottom + more[1]
        canvases, masks = zip(*(pad_for_outpainting(image, left, top, right, bottom) for image in loaded))
        width, height = canvases[0].size
        notes = (
            f"margins: {more[0]} pixels more on the right and {more[1]} at the bottom, to reach multiples of "
            f"{multiple}",
        )
        base = Inputs(height=height, width=width, notes=notes if any(more) else ())
        return replace(
            base,
            values={
                "image": canvases,
                "mask": masks,
                "strength": float(values["strength"]),
                **self.blend(values, base),
            },
        )


def margins(value: Any) -> tuple[int, int, int, int]:
    """Read the margins.

    Args:
        value: Pixels for all edges, or a list of left, top, right and bottom; each in `[0, 8192]`.

    Returns:
        Pixels at the left, top, right and bottom.

    Raises:
        ComposerError: A margin is out of range, or all are 0.
    """
    if isinstance(value, list) and len(value) == 4:
        left, top, right, bottom = (require_integer("margins", side, Margin) for side in value)
    else:
        left = top = right = bottom = require_integer("margins", value, Margin)
    sides = (left, top, right, bottom)
    if not any(sides):
        raise ComposerError("margins", value, "add nothing: give pixels for all edges, or [left,top,right,bottom]")
    return sides
