"""The tool `depth`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from composer.tools.model_tool import Dtype, ModelTool

if TYPE_CHECKING:
    from PIL.Image import Image


class Depth(ModelTool):
    """Estimate depth: nearer is lighter. https://huggingface.co/docs/transformers/tasks/monocular_depth_estimation

    Args:
        source: A model for depth estimation.
        revision: Branch, tag or commit at the hub.
        dtype: What it computes in.
        invert: Whether to exchange light and dark, for models whose predictions grow with the distance.
    """

    classes = ("MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES",)
    processor = "AutoImageProcessor"
    component = "depth_estimator"
    example = "depth-anything/Depth-Anything-V2-Small-hf"

    def __init__(
        self,
        source: str | None = "embedded:depth",
        revision: str | None = None,
        dtype: Dtype = "fp32",
        invert: bool = False,
    ) -> None:
        super().__init__(source, revision, dtype)
        self.invert = invert

    def run(self, images: Mapping[str, Any], device: str) -> Image:
        from PIL import ImageOps

        from composer.loading.depth_estimation import estimate

        result = estimate(images["image"], *self.load(device))
        return ImageOps.invert(result) if self.invert else result
