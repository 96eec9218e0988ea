"""Change images by an instruction: the model sees one or several reference images beside the text, and starts from
noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from composer.callbacks.base import StepCallback
from composer.callbacks.keep import Keep
from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.layouts import HOSTED, families
from composer.errors import ComposerError
from composer.families.base import Family
from composer.images.scaling import scale_down
from composer.sampling.sampler import Sampler
from composer.tasks.base import Inputs, Start, Task
from composer.tasks.img2img import several
from composer.tasks.masks import overlays, read_blend, read_masks

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

#: Keys that are about the mask → their value where there is none.
OF_MASK: Mapping[str, Any] = {"invert_mask": False, "blur": None, "keep_unmasked": True}
#: Default width of the blend at the mask's edge, as a part of the shorter side.
SEAM = 128


class Edit(Task):
    """All references are for each of the prompts; the size is the model's choice unless it is set.

    With a mask, the first reference is changed only where the mask is white: each step restores the rest of its
    latents, and the result has its pixels there.
    """

    keys: ClassVar[tuple[str, ...]] = (
        *("prompt", "negative_prompt", "references", "image", "height", "width", "mask"), *OF_MASK,
    )  # fmt: skip
    roles: ClassVar[tuple[str, ...]] = ("edit",)
    pipeline_kind = "edit"

    def inputs(self, values: Mapping[str, Any], batch: int, images: int, checkpoint: Checkpoint) -> Inputs:
        from composer.images.reading import read_image

        if values["image"] is not None and values["references"] is not None:
            reason = "is another name of references: leave one of the two out"
            raise ComposerError("image", values["image"], reason)
        key = "references" if values["image"] is None else "image"
        if values[key] is None:
            raise ComposerError(key, None, "an image is needed: references=FILE, or references=[FILE,FILE]")
        _check_mask(values, checkpoint)
        given = tuple(read_image(key, one) for one in several(values[key]))
        references = tuple(_best_size(image, checkpoint) for image in given)
        _check_count(key, values[key], references, checkpoint)
        if checkpoint.family != HOSTED:
            values = {**values, **self._size(values, references[0], checkpoint)}
        base = super().inputs(values, batch, images, checkpoint)
        base = replace(base, values={"references": (references,) * batch})
        base = replace(base, notes=(*base.notes, *_scaled(key, given, references)))
        return base if values["mask"] is None else _masked(values, key, references[0], base, batch, images)

    def start(self, family: Family, sampler: Sampler, request: Request) -> Start:
        references = family.references(request.inputs["references"])
        noise = family.start_noise(request, sampler.generators)
        latents = noise * sampler.initial_sigma
        callbacks = _keep(family, noise, request) if "mask" in request.inputs else {}
        return Start(latents=latents, inputs={"references": references}, callbacks=callbacks)

    def _size(self, values: Mapping[str, Any], first: Image, checkpoint: Checkpoint) -> dict[str, int]:
        """Sides that are not set: those of the first reference, in the pixels that the model was trained for."""
        sides = checkpoint.family_info.size_like(first.height, first.width, checkpoint.size_multiple)
        return {key: side for key, side in zip(("height", "width"), sides) if values.get(key) is None}


def _best_size(image: Image, checkpoint: Checkpoint) -> Image:
    """An image in at most as many pixels as `model.size` says that the model generates best."""
    side = checkpoint.best_size
    return image if side is None else scale_down(image, side * side)


def _scaled(key: str, given: Sequence[Image], references: Sequence[Image]) -> tuple[str, ...]:
    """A note about references that were scaled down."""
    for image, scaled in zip(given, references, strict=True):
        if image.size != scaled.size:
            sizes = " to ".join(f"{some.width} × {some.height}" for some in (image, scaled))
            return (f"{key}: scaled from {sizes}, what the model generates best (model.size)",)
    return ()


def _check_mask(values: Mapping[str, Any], checkpoint: Checkpoint) -> None:
    """Refuse a mask where a hosted pipeline edits, and settings of a mask where there is none."""
    if values["mask"] is not None and checkpoint.family == HOSTED:
        able = " and ".join(name for name, info in families().items() if info.reference_pipelines)
        reason = (
            f"{checkpoint.pipeline} edits the image everywhere: leave it out, or use a model of the families {able}"
        )
        raise ComposerError("mask", values["mask"], reason)
    for key, neutral in OF_MASK.items():
        if values["mask"] is None and values[key] not in (None, neutral):
            raise ComposerError(key, values[key], "is about a mask, and there is none: add mask=FILE, or leave it out")


def _check_count(key: str, value: Any, references: tuple[Image, ...], checkpoint: Checkpoint) -> None:
    """Refuse several references of a model that looks at one."""
    if len(references) > 1 and checkpoint.family != HOSTED and checkpoint.takes_one_reference:
        able = sorted({
            pipeline for info in families().values() for pipeline in info.reference_pipelines
            if pipeline not in info.one_reference_pipelines
        })  # fmt: skip
        reason = f"{checkpoint.pipeline} looks at one image: name one, or use a model of {' or '.join(able)}"
        raise ComposerError(key, value, reason)


def _masked(values: Mapping[str, Any], key: str, first: Image, base: Inputs, batch: int, images: int) -> Inputs:
    """Add the masks, and the first reference in the size of the results."""
    from composer.images.reading import resize_to

    masks, notes = read_masks(values, base.height, base.width, batch, images, key)
    kept = (resize_to(first, base.height, base.width),) * batch
    blend = read_blend(values, base.height, base.width, SEAM)
    return replace(base, values={**base.values, "mask": masks, "kept": kept, **blend}, notes=(*base.notes, *notes))


def _keep(family: Family, noise: Tensor, request: Request) -> dict[str, StepCallback]:
    """Keep what is not masked: in the latents of each step, and in the pixels of the results."""
    from composer.images.pixels import to_mask, to_pixels

    kept = request.inputs["kept"]
    clean = family.encode_mode(to_pixels(kept))
    clean = clean.contiguous() if family.inpaints_contiguous else clean
    keep = Keep(clean, noise, family.scale_mask(to_mask(request.inputs["mask"])))
    return {"inpaint.keep": keep, **overlays(request, kept)}
