"""Masks of tasks that repaint a part of an image: how they are read, blended, and kept to exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from composer.callbacks.base import StepCallback
from composer.callbacks.overlay import Overlay
from composer.callbacks.request import Request
from composer.errors import ComposerError
from composer.system.constraints import Interval, require
from composer.tasks.img2img import scaling, several
from composer.tasks.limits import MatchTones
from composer.tasks.values import each

if TYPE_CHECKING:
    from PIL.Image import Image

#: Fraction of gray pixels from which on a mask is taken for a soft one; edges of shapes have fewer.
SOFT = 0.05


def read_masks(
    values: Mapping[str, Any], height: int, width: int, batch: int, images: int, source: str = "image"
) -> tuple[tuple[Image, ...], tuple[str, ...]]:
    """Read the masks.

    Args:
        values: Root key → value.
        height: Height of the images of the run in pixels.
        width: Width of the images of the run in pixels.
        batch: Number of images of the run.
        images: Number of images for each prompt.
        source: Key of the images that the masks belong to.

    Returns:
        One mask for each image of the run, in its size; and notes about masks that may not be what was meant.
    """
    from composer.images.reading import describe_mask_doubt, is_sample, read_mask, resize_to

    invert = require("invert_mask", values["invert_mask"], bool)
    given = [read_mask("mask", one, invert) for one in several(values["mask"])]
    masks = tuple(resize_to(mask, height, width) for mask in each("mask", given, batch, images))
    typed = [mask for name, mask in zip(several(values["mask"]), given) if not is_sample(name)]
    notes = [note for mask in typed for note in scaling("mask", mask, height, width)]
    notes += [f"mask: {doubt}" for mask in masks if (doubt := describe_mask_doubt(mask))]
    notes += [f"mask: {cut}" for mask in typed if (cut := softness(mask))]
    if not typed and not all(map(is_sample, several(values[source]))):
        marks = f"{values['mask']} marks a region of sample:scene; mask=FILE marks one of yours"
        notes.append(f"mask: {marks}{hole(values[source])}")
    return masks, tuple(dict.fromkeys(notes))


def read_blend(values: Mapping[str, Any], height: int, width: int, seam: int) -> dict[str, Any]:
    """Read how the repainted part is blended with the image.

    Args:
        values: Root key → value.
        height: Height of the images in pixels.
        width: Width of the images in pixels.
        seam: Default width of the blend, as a fraction 1/seam of the shorter side.

    Returns:
        `blur`, the width of the blend in pixels, `keep_unmasked`, whether unmasked pixels are restored exactly, and
        `match_tones`, whether the repainted part's tones are shifted to meet them.

    Raises:
        ComposerError: A value is out of range, or tones are to match pixels that are not kept.
    """
    blur, shorter = values["blur"], min(height, width)
    pixels = shorter / seam
    if blur is not None:
        pixels = float(require("blur", blur, Annotated[float, Interval(ge=0, le=shorter)]))
    keeps = require("keep_unmasked", values["keep_unmasked"], bool)
    matches = require(
        "match_tones", values.get("match_tones"), MatchTones
    )  # null in records from before there was the key
    if matches is True and not keeps:
        raise ComposerError("match_tones", matches, "is for keep_unmasked=true: set match_tones=auto, or leave it out")
    return {"blur": pixels, "keep_unmasked": keeps, "match_tones": keeps and matches in (True, "auto")}


def overlays(request: Request, originals: tuple[Image, ...]) -> dict[str, StepCallback]:
    """Return the callback that restores the unmasked pixels exactly, by name; none if `keep_unmasked` is false.

    Args:
        request: The request with its masks.
        originals: RGB images with the pixels to keep, one for each image of the run and of its size.
    """
    inputs = request.inputs
    overlay = Overlay(originals, inputs["mask"], inputs["blur"], inputs.get("match_tones", False))
    return {"inpaint.overlay": overlay} if inputs["keep_unmasked"] else {}


def hole(given: Any) -> str:
    """Hint that an input image has transparent pixels, which can serve as a mask.

    Args:
        given: One image or a list of them, as they were typed.

    Returns:
        A sentence that is appended to a message; empty if no image has any.
    """
    from composer.images.reading import is_partly_transparent

    image = next(
        (name for name in several(given) if isinstance(name, str) and is_partly_transparent("image", name)),
        None,
    )
    if image is None:
        return ""
    return f". The image has a transparent part: `mask={image} invert_mask=true` repaints that, `mask={image}` the rest"


def softness(mask: Image) -> str | None:
    """Describe a mask with more gray than the edges of shapes have; masks are binarized at half-way gray.

    Args:
        mask: A mask in mode L.

    Returns:
        A note, or None.
    """
    from composer.images.reading import gray_fraction

    gray = gray_fraction(mask)
    if gray < SOFT:
        return None
    cut = "from half-way gray on it is repainted, darker it is kept"
    return f"{gray:.0%} of it is gray and is cut: {cut}; blur=PIXELS softens the edge"
