"""The metric `distance`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from composer.errors import ComposerError
from composer.metrics.base import Metric

if TYPE_CHECKING:
    from PIL.Image import Image

KEY = "metric.distance.reference"
#: Of SSIM: standard deviation and radius of the Gaussian window in pixels, and the constants of its authors.
SIGMA, RADIUS, K1, K2 = 1.5, 5, 0.01, 0.03


class Distance(Metric):
    """Distance of an image from a reference image of the same size.

    Args:
        reference: An image file, or `sample:NAME`.
        method: `mse`, the mean squared error of RGB values, in [0, 65025]; `mae`, their mean absolute difference, in
            [0, 255]; `ssim`, 1 minus the structural similarity of the RGB channels, in [0, 2].
    """

    higher_is_better: ClassVar[bool] = False

    def __init__(self, reference: str | None = None, method: Literal["mse", "mae", "ssim"] = "mse") -> None:
        self.reference, self.method = reference, method

    def check(self, size: tuple[int, int] | None, prompts: Sequence[str]) -> None:
        width, height = self._image().size
        if size not in (None, (width, height)):
            images = "{} x {}".format(*size or ())
            reason = f"is {width} x {height} pixels, and the images are {images}: the sizes must be equal"
            raise ComposerError(KEY, self.reference, reason)
        if self.method == "ssim" and min(width, height) <= 2 * RADIUS:
            reason = f"compares windows of {2 * RADIUS + 1} pixels, and the reference is smaller: use mse or mae"
            raise ComposerError("metric.distance.method", self.method, reason)

    def fingerprint(self) -> str:
        from composer.checkpoints.fingerprints import image_fingerprint

        return image_fingerprint(self._image())

    def measure(self, image: Image, prompt: str, device: str) -> float:
        import numpy as np

        reference = self._image()
        self.check(image.size, (prompt,))
        one, other = (np.asarray(array, dtype=np.float64) for array in (image, reference))
        if self.method == "ssim":
            return 1 - ssim(one, other)
        difference = one - other
        return float((difference**2 if self.method == "mse" else abs(difference)).mean())

    def _image(self) -> Image:
        from composer.images.reading import read_image

        if self.reference is None:
            raise ComposerError(KEY, None, f"an image to compare with is needed: {KEY}=FILE")
        return read_image(KEY, self.reference)


def ssim(one: Any, other: Any) -> float:
    """Compute the structural similarity of two images. https://doi.org/10.1109/TIP.2003.819861

    Args:
        one: `(H, W, 3)`, float64 in [0, 255], both sides longer than the window.
        other: The same.

    Returns:
        Mean over channels and all windows inside of the image, in [-1, 1]; 1 for equal images.
    """
    from scipy.ndimage import gaussian_filter

    def mean(array: Any) -> Any:
        blurred = gaussian_filter(array, (SIGMA, SIGMA, 0), radius=(RADIUS, RADIUS, 0))
        return blurred[RADIUS:-RADIUS, RADIUS:-RADIUS]

    a, b = mean(one), mean(other)
    variances = mean(one * one) - a * a + mean(other * other) - b * b
    covariance = mean(one * other) - a * b
    c1, c2 = (K1 * 255) ** 2, (K2 * 255) ** 2
    return float(((2 * a * b + c1) * (2 * covariance + c2) / ((a * a + b * b + c1) * (variances + c2))).mean())
