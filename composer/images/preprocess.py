"""Preprocessors of control images: edges, outlines and the like, made of any image.

Each takes an RGB image and settings by name, and returns an RGB image of the same size.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from PIL import Image, ImageChops, ImageFilter, ImageOps

from composer.errors import ComposerError
from composer.system.constraints import Gt, Interval

#: A gray, from black to white.
Gray = Annotated[int, Interval(ge=0, le=255)]


def canny(image: Image.Image, low: Gray = 100, high: Gray = 200) -> Image.Image:
    """Find edges, one pixel wide, white on black (Canny 1986).

    Args:
        image: An RGB image.
        low: Least gradient of a pixel that continues an edge.
        high: Least gradient of a pixel that begins one, more than `low`.

    Returns:
        The edges.

    Raises:
        ComposerError: opencv-python-headless is not installed.
    """
    try:
        import cv2
    except ImportError:
        reason = "needs the package opencv-python-headless: pip install 'diffusion-composer[control]'"
        raise ComposerError("control.preprocess", "canny", reason) from None
    return Image.fromarray(cv2.Canny(np.asarray(image), low, high)).convert("RGB")


def gray(image: Image.Image) -> Image.Image:
    """Remove the colours.

    Args:
        image: An RGB image.

    Returns:
        Its luminance.
    """
    return ImageOps.grayscale(image).convert("RGB")


def invert(image: Image.Image) -> Image.Image:
    """Exchange black and white, such as of black lines on white paper.

    Args:
        image: An RGB image.

    Returns:
        The negative.
    """
    return ImageOps.invert(image)


def blur(image: Image.Image, radius: Annotated[float, Gt(0)] = 8.0) -> Image.Image:
    """Blur, for models that restore details.

    Args:
        image: An RGB image.
        radius: Standard deviation of the Gaussian, in pixels.

    Returns:
        The blurred image.
    """
    return image.filter(ImageFilter.GaussianBlur(radius))


def lineart(
    image: Image.Image, radius: Annotated[float, Gt(0)] = 3.0, gain: Annotated[float, Gt(0)] = 3.0
) -> Image.Image:
    """Outline shapes, white on black: what is darker than its surroundings.

    Args:
        image: An RGB image.
        radius: Width of the surroundings, as the standard deviation of a Gaussian in pixels.
        gain: Factor of the difference.

    Returns:
        The outlines.
    """
    luminance = ImageOps.grayscale(image)
    darker = ImageChops.subtract(luminance.filter(ImageFilter.GaussianBlur(radius)), luminance)
    return darker.point([round(min(value * gain, 255)) for value in range(256)]).convert("RGB")
