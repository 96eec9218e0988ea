"""Repaint the masked part of an image and keep the rest.

Models with 9 input channels receive the mask and the masked image at every step. With other models, the unmasked
part of the latents is replaced after each step by the image's, noised to the level of that step, as in RePaint
(https://arxiv.org/abs/2201.09865).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from composer.callbacks.base import StepCallback
from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.errors import ComposerError
from composer.families.base import Family
from composer.sampling.sampler import Sampler
from composer.tasks.base import Inputs, Start
from composer.tasks.img2img import Img2Img
from composer.tasks.masks import hole, overlays, read_blend, read_masks


class Inpaint(Img2Img):
    """Repaint what is white in a mask.

    Attributes:
        seam: Default width of the blend, as a fraction 1/seam of the shorter side.
    """

    keys: ClassVar[tuple[str, ...]] = (*Img2Img.keys, "mask", "invert_mask", "blur", "keep_unmasked", "match_tones")
    roles: ClassVar = ("plain", "inpaint")
    fills: ClassVar = frozenset({"mask", "masked_latents"})
    pipeline_kind = "inpaint"
    #: Default width of the blend, as a part of the shorter side.
    seam: ClassVar[int] = 128

    def inputs(self, values: Mapping[str, Any], batch: int, images: int, checkpoint: Checkpoint) -> Inputs:
        if values["mask"] is None:
            raise ComposerError("mask", None, f"an image is needed: mask=FILE{hole(values['image'])}")
        base = super().inputs(values, batch, images, checkpoint)
        masks, notes = read_masks(values, base.height, base.width, batch, images)
        return replace(
            base,
            values={**base.values, "mask": masks, **self.blend(values, base)},
            notes=(*base.notes, *notes),
        )

    def blend(self, values: Mapping[str, Any], base: Inputs) -> dict[str, Any]:
        """Read how the repainted part is blended with the image.

        Args:
            values: Root key → value.
            base: Size of the images.

        Returns:
            `blur`, `keep_unmasked` and `match_tones`, see `read_blend`.
        """
        return read_blend(values, base.height, base.width, self.seam)

    def start(self, family: Family, sampler: Sampler, request: Request) -> Start:
        from composer.images.pixels import to_mask, to_pixels

        sampler.skip(request.steps_skipped)
        pixels, mask = to_pixels(request.inputs["image"]), to_mask(request.inputs["mask"])
        pure = request.inputs["strength"] == 1  # then nothing of the image is under the mask
        skipped = pure and family.takes_mask and not family.samples_image_first
        clean = None if skipped else family.encode_image(pixels, sampler.generators)
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
        callbacks |= overlays(request, request.inputs["image"])
        inputs = {"mask": scaled, "masked_latents": masked, "mask_channels": family.mask_channels(mask)}
        return Start(latents=latents, inputs=inputs, callbacks=callbacks)
