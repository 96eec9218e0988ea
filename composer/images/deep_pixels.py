"""Pixels of more than 8 bits, which PIL reads as gray: scaled to 8 bits, or read as a depth map.

`composer.images.reading` imports this for such images and for depth maps alone: checks of other images need no NumPy.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from composer.errors import ComposerError


def has_light(image: Image.Image) -> bool:
    """Test whether a pixel is not black.

    Args:
        image: An image of one channel.
    """
    return bool(np.asarray(image).max() > 0)


def to_8_bits(key: str, value: object, image: Image.Image) -> Image.Image:
    """Scale deep pixels to `[0, 255]`, by the rule of `composer.images.reading`.

    Args:
        key: Config key, for the error.
        value: What the user typed, for the error.
        image: A gray image of more than 8 bits.

    Returns:
        An image of mode L, or LA if one gray is transparent.

    Raises:
        ComposerError: A value is not finite.
    """
    deep = np.array(image, np.float64)
    _check_finite(key, value, deep)
    low, high = _range(deep, image.mode)
    gray = Image.fromarray(np.rint((deep - low) * (255 / (high - low))).astype(np.uint8))
    if isinstance(clear := image.info.get("transparency"), int):
        gray.putalpha(Image.fromarray(np.where(deep == clear, 0, 255).astype(np.uint8)))
    return gray


def to_depth(key: str, value: object, image: Image.Image) -> np.ndarray:
    """Read the values of a gray image in its own unit.

    Args:
        key: Config key, for the errors.
        value: What the user typed, for the errors.
        image: A gray image of any depth.

    Returns:
        `(H, W)` of float32.

    Raises:
        ComposerError: A value is not finite, or all are equal.
    """
    depth = np.array(image, np.float32)
    _check_finite(key, value, depth)
    if depth.min() == depth.max():
        raise ComposerError(key, value, "has the same depth everywhere: a depth map is lighter where things are nearer")
    return depth


def _range(deep: np.ndarray, mode: str) -> tuple[float, float]:
    """Values of black and of white."""
    low, high = float(deep.min()), float(deep.max())
    tops = {"I": (255, 65535), "F": (1, 255, 65535)}.get(mode, (65535,))
    if low >= 0 and high <= tops[-1]:
        return 0, next(top for top in tops if high <= top)
    return low, high if low < high else np.inf


def _check_finite(key: str, value: object, pixels: np.ndarray) -> None:
    if not np.isfinite(pixels).all():
        raise ComposerError(key, value, "holds values that are not finite numbers")
