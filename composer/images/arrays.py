"""Conversion of arrays and tensors to PIL images, where their meaning is unambiguous.

Accepted are uint8 in `[0, 255]` and floats in `[0, 1]`, of shape `(H, W)`, or with 1, 3 or 4 channels. Where both ends
could be channels, they are last in arrays and first in tensors of torch, as in diffusers. A fourth axis, before these,
counts images. Booleans are a mask. A depth map is one number a pixel, in any unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from composer.errors import ComposerError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

#: Channels that an image can have.
CHANNEL_COUNTS = (1, 3, 4)
DEPTH = "depth"
ADVICE = "pass a file or a PIL image, or an array of uint8 0–255 or of floats 0–1 in the shape (H, W) or (H, W, 3)"


def is_image(value: Any, arrays: bool = True) -> bool:
    """Return whether a value is an image, or a list of images only, without importing PIL.

    Args:
        value: Any value.
        arrays: Whether arrays and tensors count as images.

    Returns:
        Whether it is.
    """
    several = value if isinstance(value, (list, tuple)) else [value]
    return bool(several) and all(_is_pil(item) or (arrays and _is_array(item)) for item in several)


def to_images(key: str, value: Any) -> Any:
    """Convert a value for which `is_image` holds to PIL images.

    Args:
        key: Config key, for the error. `depth` accepts a number a pixel, in any unit.
        value: An image or an array, or a list of them.

    Returns:
        A PIL image, or a list of PIL images if the value contains several.

    Raises:
        ComposerError: The shape, the dtype or the range of an array is ambiguous or unsuitable.
    """
    if isinstance(value, (list, tuple)):
        batches = [to_images(key, item) for item in value]
        return [image for batch in batches for image in (batch if isinstance(batch, list) else [batch])]
    return value if _is_pil(value) else _from_array(key, value)


def _is_pil(value: Any) -> bool:
    return hasattr(value, "getexif") and hasattr(value, "size")


def _is_array(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("ndim", "shape", "dtype", "__array__")) and value.ndim > 0


def _from_array(key: str, value: Any) -> Any:
    import numpy as np

    first = type(value).__module__.split(".")[0] == "torch"
    try:
        pixels = np.asarray(value.detach().cpu() if first else value)
    except (TypeError, RuntimeError):  # a dtype that numpy lacks
        raise _unclear(key, value) from None
    if pixels.ndim == 4:
        return [_one(key, value, image, first) for image in pixels]
    return _one(key, value, pixels, first)


def _one(key: str, value: Any, pixels: np.ndarray, channels_first: bool) -> Image:
    """Convert `(H, W)`, or that with channels."""
    import numpy as np
    from PIL import Image

    if pixels.ndim == 3:
        ends = (0, -1) if channels_first else (-1, 0)
        axis = next((end for end in ends if pixels.shape[end] in CHANNEL_COUNTS), None)
        if axis is None:
            raise _unclear(key, value)
        pixels = np.moveaxis(pixels, axis, -1)
        pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    if pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise _unclear(key, value)
    if key == DEPTH and pixels.ndim == 2 and pixels.dtype.kind in "fiu":
        return Image.fromarray(pixels.astype(np.float32))
    return Image.fromarray(_bytes(key, value, pixels))


def _bytes(key: str, value: Any, pixels: np.ndarray) -> np.ndarray:
    """Convert to uint8 in `[0, 255]` if the range is unambiguous."""
    import numpy as np

    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype.kind != "f" or not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
        raise _unclear(key, value)
    return np.rint(pixels.astype(np.float64) * 255).astype(np.uint8)


def _unclear(key: str, value: Any) -> ComposerError:
    shape = ", ".join(map(str, value.shape))
    about = f"an array of the shape ({shape}) and {value.dtype}"
    try:
        low, high = float(value.min()), float(value.max())
        about += f" from {low:g} to {high:g}"
    except (TypeError, ValueError, RuntimeError):
        pass
    return ComposerError(key, about, f"is not clearly an image: {ADVICE}")
