"""The base class of metrics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from composer.system.constraints import Validated

if TYPE_CHECKING:
    from PIL.Image import Image


class Metric(Validated):
    """A number about each finished image, by which results are ranked. It is a list group of options, `metric`.

    Its settings are the keywords of its constructor, checked by their annotations. It is given copies: a metric changes
    no image. The same settings, image and prompt must always give the same number, since records are reproduced. A
    module with a metric imports no torch at import time, since settings are checked without it.

    Attributes:
        higher_is_better: Whether the best image is the one with the highest value; else with the lowest.

    Example:
        >>> class Brightness(Metric):
        ...     def measure(self, image, prompt, device):
        ...         return image.convert("L").resize((1, 1)).getpixel((0, 0))
    """

    higher_is_better: ClassVar[bool] = True

    @classmethod
    def config_key(cls) -> str:
        """Return `metric.` and the name of the class in snake case, as composer's own options are called."""
        return "metric." + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def check(self, size: tuple[int, int] | None, prompts: Sequence[str]) -> None:
        """Refuse images that cannot be measured, before weights are loaded.

        Args:
            size: Width and height of the images in pixels; None where only the images themselves show it.
            prompts: The prompt of each image; empty texts where there is none.

        Raises:
            ComposerError: A setting is missing or wrong, a file cannot be read, or the images cannot be measured.
        """

    def fingerprint(self) -> str:
        """Identify the content of files that the metric reads, such as a reference or weights.

        Returns:
            A hash; empty if it reads none.
        """
        return ""

    def load(self) -> None:
        """Load what the metric needs, before images are generated, so that a failure costs none.

        Raises:
            ComposerError: A model cannot be loaded.
        """

    def measure(self, image: Image, prompt: str, device: str) -> float:
        """Measure one image.

        Args:
            image: A copy of the image, in mode RGB.
            prompt: Its prompt, without weights and other syntax; empty if it has none.
            device: Name of the run's device, such as `cpu` or `cuda`, for metrics with models of their own.

        Returns:
            A finite number.

        Raises:
            ComposerError: The image cannot be measured.
        """
        raise NotImplementedError(f"{type(self).__name__} measures nothing yet")
