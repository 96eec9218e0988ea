"""Arrays and tensors given as images → PIL images, where their meaning is clear.

Clear is: whole numbers 0–255 (uint8) or floats 0–1; (H, W), or 1, 3 or 4 channels besides, where both ends could be
that, last in
arrays and first in torch's tensors, as diffusers has them; before these, an axis of several images. true and false are
a mask. A depth
map is a number for each pixel, in any unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from composer.errors import ComposerError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

#: Channels that an image can have.
CHANNELS = (1, 3, 4)
DEPTH = "depth"
ADVICE = "pass a file or a PIL image, or an array of uint8 0–255 or of floats 0–1 in the shape (H, W) or (H, W, 3)"


def is_image(value: Any, arrays: bool = True) -> bool:
    """Whether this is an image, or a list of nothing else; without importing PIL for those who pass none. arrays:
    whether these count.
    """
    several = value if isinstance(value, (list, tuple)) else [value]
    return bool(several) and all(_is_pil(each) or (arrays and _is_array(each)) for each in several)


def opened(key: str, value: Any) -> Any:
    """PIL images of a value for which `is_image` holds; one, or a list where several were given.

    Raises:
        ComposerError: an array that could mean several things, or nothing.
    """
    if isinstance(value, (list, tuple)):
        found = [opened(key, each) for each in value]
        return [image for each in found for image in (each if isinstance(each, list) else [each])]
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
        return [_one(key, value, each, first) for each in pixels]
    return _one(key, value, pixels, first)


def _one(key: str, value: Any, pixels: np.ndarray, channels_first: bool) -> Image:
    """One image of (H, W), or with channels."""
    import numpy as np
    from PIL import Image

    if pixels.ndim == 3:
        ends = (0, -1) if channels_first else (-1, 0)
        axis = next((end for end in ends if pixels.shape[end] in CHANNELS), None)
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
    """0–255, of numbers whose range is clear."""
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
