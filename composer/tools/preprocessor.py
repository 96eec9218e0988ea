"""The tool `edges`: the preprocessors of control images as a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from composer.errors import ComposerError
from composer.system.constraints import Interval
from composer.tools.base import Tool

if TYPE_CHECKING:
    from PIL.Image import Image


class Edges(Tool):
    """Find edges or outlines, white on black, as control models follow them.

    Args:
        method: `canny` finds thin edges and needs the extra `control`; `lineart` outlines what is darker than its
            surroundings.
        low: Of canny, the least gradient of a pixel that continues an edge.
        high: Of canny, the least gradient of a pixel that begins one.
    """

    def __init__(
        self,
        method: Literal["lineart", "canny"] = "lineart",
        low: Annotated[int, Interval(ge=0, le=255)] = 100,
        high: Annotated[int, Interval(ge=0, le=255)] = 200,
    ) -> None:
        self.method, self.low, self.high = method, low, high
        if method == "canny":
            from importlib.util import find_spec

            if find_spec("cv2") is None:
                reason = "needs the package opencv-python-headless: pip install 'diffusion-composer[control]'"
                raise ComposerError("tool.method", method, reason)

    def run(self, images: Mapping[str, Image], device: str) -> Image:
        from composer.images import preprocess

        image = images["image"]
        return preprocess.canny(image, self.low, self.high) if self.method == "canny" else preprocess.lineart(image)
