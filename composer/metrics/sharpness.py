"""The metric `sharpness`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.metrics.base import Metric

if TYPE_CHECKING:
    from PIL.Image import Image


class Sharpness(Metric):
    """Variance of the Laplacian of the gray levels; noise counts as sharp too.

    https://doi.org/10.1109/ICPR.2000.903548
    """

    def measure(self, image: Image, prompt: str, device: str) -> float:
        import numpy as np

        gray = np.pad(np.asarray(image.convert("L"), dtype=np.float64), 1, mode="reflect")
        around = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:]
        return float((around - 4 * gray[1:-1, 1:-1]).var())
