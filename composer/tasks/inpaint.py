"""Repaint the masked part of an image and keep the rest.

Models with 9 input channels receive the mask and the masked image at every step. With other models, the unmasked
part of the latents is replaced after each step by the image's, noised to the level of that step, as in RePaint
(https://arxiv.org/abs/2201.09865).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from composer.callbacks.base import StepCallback
from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.errors import ComposerError
from composer.families.base import Family
from composer.sampling.sampler import Sampler
from composer.system.constraints import Interval, require
from composer.tasks.base import Inputs, Start
from composer.tasks.img2img import Img2Img, scaling, several
from composer.tasks.values import each

if TYPE_CHECKING:
    from PIL.Image import Image

#: Fraction of gray pixels from which on a mask is taken for a soft one; edges of shapes have fewer.
SOFT = 0.05


class Inpaint(Img2Img):
    """Repaint what is white in a mask.

    Attributes:
        seam: Default width of the blend, as a fraction 1/seam of the shorter side.
    """

    keys: ClassVar[tuple[str, ...]] = (*Img2Img.keys, "mask", "invert_mask", "blur", "keep_unmasked")
    roles: ClassVar = ("plain", "inpaint")
    fills: ClassVar = frozenset({"mask", "masked_latents"})
    pipeline_kind = "inpaint"
    #: Default width of the blend, as a part of the shorter side.
    seam: ClassVar[int] = 128

    def inputs(self, values: Mapping[str, Any], batch: int, images: int, checkpoint: Checkpoint) -> Inputs:
        from composer.images.reading import describe_mask_doubt, is_sample, read_mask, resize_to

        if values["mask"] is None:
            raise ComposerError("mask", None, f"an image is needed: mask=FILE{hole(values)}")
        base = super().inputs(values, batch, images, checkpoint)
        invert = require("invert_mask", values["invert_mask"], bool)
        given = [read_mask("mask", one, invert) for one in several(values["mask"])]
        masks = tuple(resize_to(mask, base.height, base.width) for mask in each("mask", given, batch, images))
        typed = [mask for name, mask in zip(several(values["mask"]), given) if not is_sample(name)]
        notes = [note for mask in typed for note in scaling("mask", mask, base.height, base.width)]
        notes += [f"mask: {doubt}" for mask in masks if (doubt := describe_mask_doubt(mask))]
        notes += [f"mask: {cut}" for mask in typed if (cut := softness(mask))]
        if not typed and not all(map(is_sample, several(values["image"]))):
            notes.append(
                f"mask: {values['mask']} marks a region of sample:scene; mask=FILE marks one of yours{hole(values)}"
            )
        return replace(
            base,
            values={**base.values, "mask": masks, **self.blend(values, base)},
            notes=(*base.notes, *dict.fromkeys(notes)),
        )

    def blend(self, values: Mapping[str, Any], base: Inputs) -> dict[str, Any]:
        """Read how the repainted part is blended with the image.

        Args:
            values: Root key → value.
            base: Size of the images.

        Returns:
            `blur`, the width of the blend in pixels, and `keep_unmasked`, whether unmasked pixels are restored exactly.
        """
        blur, shorter = values["blur"], min(base.height, base.width)
        width = shorter / self.seam
        if blur is not None:
            width = float(require("blur", blur, Annotated[float, Interval(ge=0, le=shorter)]))
        return {"blur": width, "keep_unmasked": require("keep_unmasked", values["keep_unmasked"], bool)}

    def start(self, family: Family, sampler: Sampler, request: Request) -> Start:
        from composer.images.pixels import to_mask, to_pixels

        sampler.skip(request.steps_skipped)
        pixels, mask = to_pixels(request.inputs["image"]), to_mask(request.inputs["mask"])
        pure = request.inputs["strength"] == 1  # then nothing of the image is under the mask
        clean = None if pure and family.takes_mask else family.encode_image(pixels, sampler.generators)
        if clean is not None and family.inpaints_contiguous:
            clean = clean.contiguous()
        noise = family.start_noise(request, sampler.generators)
        latents = noise * sampler.initial_sigma if pure or clean is None else sampler.noised(clean, noise, 0)
        scaled = family.scale_mask(mask)
        masked = family.encode_image(pixels * (mask < 0.5), sampler.generators)
        callbacks: dict[str, StepCallback] = {}
        if clean is not None and not family.takes_mask:
            from composer.callbacks.keep import Keep

            callbacks["inpaint.keep"] = Keep(clean, noise, scaled)
        if request.inputs["keep_unmasked"]:
            from composer.callbacks.overlay import Overlay

            callbacks["inpaint.overlay"] = Overlay(
                request.inputs["image"], request.inputs["mask"], request.inputs["blur"]
            )
        return Start(latents=latents, inputs={"mask": scaled, "masked_latents": masked}, callbacks=callbacks)


def hole(values: Mapping[str, Any]) -> str:
    """Hint that an input image has transparent pixels, which can serve as a mask.

    Args:
        values: Root key → value.

    Returns:
        A sentence that is appended to a message; empty if no image has any.
    """
    from composer.images.reading import is_partly_transparent

    image = next(
        (name for name in several(values["image"]) if isinstance(name, str) and is_partly_transparent("image", name)),
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
