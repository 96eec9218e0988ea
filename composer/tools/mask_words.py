"""The tool `mask_words`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from composer.errors import ComposerError
from composer.system.constraints import Fraction, Ge, Interval
from composer.tools.masks import softened
from composer.tools.model_tool import Dtype, ModelTool

if TYPE_CHECKING:
    from PIL.Image import Image


class MaskWords(ModelTool):
    """Make a mask of what words describe; commas separate what is marked each on its own.

    https://huggingface.co/docs/transformers/model_doc/clipseg, https://huggingface.co/docs/transformers/model_doc/owlv2

    Args:
        source: A CLIPSeg model, or one that finds boxes: OWLv2, OWL-ViT, Grounding DINO or MM Grounding DINO.
        revision: Branch, tag or commit at the hub.
        dtype: What it computes in.
        threshold: Least probability of a pixel or a box.
        grow: Pixels by which white grows on all sides.
        blur: Standard deviation of a Gaussian blur of the edges, in pixels.
    """

    inputs = ("image", "prompt")
    makes = "mask"
    classes = (
        "CLIPSegForImageSegmentation", "Owlv2ForObjectDetection", "OwlViTForObjectDetection",
        "GroundingDinoForObjectDetection", "MMGroundingDinoForObjectDetection",
    )  # fmt: skip
    example = "CIDAS/clipseg-rd64-refined"

    def __init__(
        self,
        source: str | None = None,
        revision: str | None = None,
        dtype: Dtype = "fp32",
        threshold: Fraction = 0.4,
        grow: Annotated[int, Interval(ge=0, le=256)] = 0,
        blur: Annotated[float, Ge(0)] = 0.0,
    ) -> None:
        super().__init__(source, revision, dtype)
        self.threshold, self.grow, self.blur = threshold, grow, blur

    def run(self, images: Mapping[str, Any], device: str) -> Image:
        from composer.loading.word_masks import mask_of_words

        phrases = [phrase.strip() for phrase in images["prompt"].split(",") if phrase.strip()]
        if not phrases:
            raise ComposerError("prompt", images["prompt"], "names nothing to mark")
        mask = mask_of_words(images["image"], phrases, *self.load(device), self.threshold)
        return softened(mask, self.grow, self.blur)
