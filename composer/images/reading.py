"""Reading of input images, masks and depth maps from files, with one line for what is wrong.

Any image becomes RGB by one rule: it is turned by its Exif orientation, deep pixels are scaled to 8 bits, transparency
is composited over white, and PIL converts the rest (CMYK, YCbCr, LAB, HSV, palettes, gray). Colour profiles are
ignored. Deep pixels are scaled, never clipped: I;16 from `[0, 65535]`; 32-bit integers and floats, whose range is not
recorded, from the smallest of `[0, 1]` (floats only), `[0, 255]` and `[0, 65535]` that contains them all, else from
their minimum to their maximum.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from composer.errors import ComposerError, suggest
from composer.images import samples
from composer.images.png import is_png, without_texts
from composer.system.paths import expand_user

if TYPE_CHECKING:
    import numpy as np

#: Refused from the header, before a pixel is decoded: a file of 12 kB can hold 100 megapixels.
MAX_PIXELS = 64 * 10**6
#: Excludes formats whose reader runs a program (EPS) or is rarely reviewed.
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
SAMPLE_PREFIX = "sample:"
#: Gray from which on a pixel is repainted; families round masks here.
MASK_THRESHOLD = 128
#: Grays this near to black or white are attributed to JPEG compression.
GRAY_MARGIN = 24


def is_sample(value: object) -> bool:
    """Return whether a value names an image that comes with the package.

    Args:
        value: Any value.

    Returns:
        Whether it begins with `sample:`.
    """
    return isinstance(value, str) and value.startswith(SAMPLE_PREFIX)


def open_image(key: str, value: object) -> Image.Image:
    """Open and decode an image, upright and in the file's own mode; of an animation, the first frame.

    Args:
        key: Config key, for the error.
        value: A path (`~` is expanded), `sample:NAME`, or from Python a PIL image.

    Returns:
        The image.

    Raises:
        ComposerError: The value is no text, or the file is missing, no image, damaged, or of more than `MAX_PIXELS`.
    """
    if isinstance(value, Image.Image):  # from Python
        return ImageOps.exif_transpose(value)
    path = _file(key, value)
    try:
        with warnings.catch_warnings(), path.open("rb") as complete_file:
            warnings.simplefilter("ignore")  # PIL's own about size comes at 89 megapixels
            file = without_texts(complete_file) if is_png(complete_file) else complete_file
            file.seek(0)
            _check_header(key, value, Image.open(file, formats=IMAGE_FORMATS))
            file.seek(0)  # verify() has used the first one up
            return _upright(Image.open(file, formats=IMAGE_FORMATS))
    except ComposerError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(key, value) from None
    except Image.UnidentifiedImageError:
        raise ComposerError(
            key, value, f"is not an image, or its first bytes are damaged (read are {', '.join(IMAGE_FORMATS)})"
        ) from None
    except PermissionError:
        raise ComposerError(key, value, "may not be read: see the file's permissions") from None
    except Exception as error:  # PIL's readers raise errors of any kind for damaged files
        raise ComposerError(key, value, f"is damaged or cut short: {error or type(error).__name__}") from None


def read_image(key: str, value: object) -> Image.Image:
    """Read an RGB image, by the rule at the top of this file.

    Args:
        key: Config key, for the error.
        value: As for `open_image`.

    Returns:
        An RGB image.

    Raises:
        ComposerError: As for `open_image`.
    """
    return _on(_shallow(key, value, open_image(key, value)), "white")


def read_mask(key: str, value: object, invert: bool = False) -> Image.Image:
    """Read a mask, from the alpha channel if that varies, else from the luminance.

    Opaque paint on a transparent ground therefore marks what is repainted.

    Args:
        key: Config key, for the error.
        value: As for `open_image`.
        invert: Whether to exchange 0 and 255, at the very end.

    Returns:
        A mask of mode L; 255 is repainted, 0 is kept.

    Raises:
        ComposerError: As for `open_image`; or the lightest pixel is not black, but 1 of 255 at most.
    """
    image = open_image(key, value)
    mask = _alpha_or_gray(_shallow(key, value, image))
    lightest = _extrema(mask)[1]
    if lightest == 1 or (lightest == 0 and _is_deep(image) and _has_light(image)):
        raise ComposerError(key, value, "holds 0 and 1, or is nearly black: a mask holds 0 (kept) and 255 (repainted)")
    return ImageOps.invert(mask) if invert else mask


def is_partly_transparent(key: str, value: object) -> bool:
    """Return whether a part of an image is transparent and a part is not.

    Args:
        key: Config key, for the error.
        value: As for `open_image`.

    Returns:
        Whether the alpha channel varies.

    Raises:
        ComposerError: As for `open_image`.
    """
    image = open_image(key, value)
    if _is_deep(image) or not image.has_transparency_data:
        return False
    low, high = _extrema(_rgba(image).getchannel("A"))
    return low < high


def gray_fraction(mask: Image.Image) -> float:
    """Compute how much of a mask is clearly neither black nor white.

    Args:
        mask: Mask of mode L.

    Returns:
        The fraction of its pixels, in `[0, 1]`.
    """
    counts = mask.histogram()
    return sum(counts[GRAY_MARGIN : 256 - GRAY_MARGIN]) / sum(counts)


def describe_mask_doubt(mask: Image.Image) -> str | None:
    """Describe a mask that leaves nothing to repaint, or nothing to keep.

    Args:
        mask: Mask of mode L.

    Returns:
        A phrase for a note; `None` if the mask is fine.
    """
    low, high = _extrema(mask)
    if high < MASK_THRESHOLD:
        return f"{'all black' if high == 0 else 'nowhere lighter than half-way gray'}: nothing is repainted"
    if low >= MASK_THRESHOLD:
        return f"{'all white' if low == 255 else 'nowhere darker than half-way gray'}: everything is repainted"
    return None


def read_depth(key: str, value: object) -> np.ndarray:
    """Read a depth map in the file's own unit and precision.

    Colours count by their luminance; transparent pixels are far.

    Args:
        key: Config key, for the error.
        value: As for `open_image`.

    Returns:
        `(H, W)` of float32; larger is nearer.

    Raises:
        ComposerError: As for `open_image`; or a value is not finite, or all are equal.
    """
    from composer.images.deep_pixels import to_depth

    image = open_image(key, value)
    return to_depth(key, value, image if _is_deep(image) else _on(image, "black").convert("L"))


def check_size(key: str, image: Image.Image, multiple: int) -> None:
    """Refuse an image that is too small for the model.

    Args:
        key: Config key, for the error.
        image: The image.
        multiple: Shortest side, in pixels.

    Raises:
        ComposerError: A side is shorter.
    """
    if min(image.size) < multiple:
        raise ComposerError(
            key, None, f"{image.width} x {image.height} pixels are too few: {multiple} is the least of each side"
        )


def resize_to(image: Image.Image, height: int, width: int) -> Image.Image:
    """Resize an image with Lanczos, as diffusers does.

    Args:
        image: The image.
        height: Height of the result, in pixels.
        width: Width of the result, in pixels.

    Returns:
        The image; the same object if its size is right already.
    """
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)


# --- files ------------------------------------------------------------------------------------------------------------


def _file(key: str, value: object) -> Path:
    """Path of the file that a value names. It is not opened, since a pipe would block."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise ComposerError(key, None, f"an image is needed: {key}=FILE")
    if not isinstance(value, str):
        raise ComposerError(key, value, f"must be the name of a file: {key}=FILE")
    if is_sample(value):
        return _sample(key, value)
    if value.startswith(("http://", "https://")):
        raise ComposerError(key, value, "is a web address: download the image and name its file")
    try:
        path = expand_user(value)
        if path.is_dir():
            raise ComposerError(key, value, f"is a folder: name an image in it: {key}=FILE")
        is_file, exists = path.is_file(), path.exists()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, or an unknown user's home
        raise ComposerError(key, value, "there is no such file") from None
    if not is_file:
        raise ComposerError(key, value, "is not a regular file" if exists else "there is no such file")
    return path


def _sample(key: str, value: str) -> Path:
    name = value.removeprefix(SAMPLE_PREFIX)
    if name not in samples.NAMES:
        allowed = [SAMPLE_PREFIX + sample for sample in samples.NAMES]
        raise ComposerError(key, value, f"no such sample.{suggest(value, allowed)}", allowed)
    return samples.path(name)


def _check_header(key: str, value: object, image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(key, value)
    if min(image.size) < 1:
        raise ComposerError(key, value, "has no pixels")
    image.verify()  # checksums, if the format has them


def _upright(image: Image.Image) -> Image.Image:
    """Decode, and turn by the Exif orientation; an unreadable tag is ignored."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image.copy()


def _too_large(key: str, value: object) -> ComposerError:
    return ComposerError(key, value, f"has too many pixels: {MAX_PIXELS // 10**6} megapixels are the most")


# --- pixels -----------------------------------------------------------------------------------------------------------


def _is_deep(image: Image.Image) -> bool:
    """Whether a pixel has more than 8 bits. Such images are gray: PIL reads 16-bit colours as 8-bit ones."""
    return image.mode in ("I", "F") or image.mode.startswith("I;")


def _has_light(deep: Image.Image) -> bool:
    from composer.images.deep_pixels import has_light

    return has_light(deep)


def _shallow(key: str, value: object, image: Image.Image) -> Image.Image:
    """Scale deep pixels to `[0, 255]` (mode L, or LA if one gray is transparent); keep any other mode."""
    if not _is_deep(image):
        return image
    from composer.images.deep_pixels import to_8_bits

    return to_8_bits(key, value, image)


def _on(image: Image.Image, ground: str) -> Image.Image:
    """Convert to RGB, with transparency composited over a colour. Not for deep pixels."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    below = Image.new("RGBA", image.size, ground)
    below.alpha_composite(_rgba(image))
    return below.convert("RGB")


def _rgba(image: Image.Image) -> Image.Image:
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")  # PIL cannot convert La to RGBA


def _alpha_or_gray(image: Image.Image) -> Image.Image:
    """Convert to L. A constant alpha channel is ignored. Not for deep pixels."""
    if not image.has_transparency_data:
        return image.convert("RGB").convert("L")
    rgba = _rgba(image)
    alpha = rgba.getchannel("A")
    low, high = _extrema(alpha)
    return alpha if low < high else rgba.convert("RGB").convert("L")


def _extrema(image: Image.Image) -> tuple[float, float]:
    """Smallest and largest value of an image of one channel."""
    low, high = image.getextrema()
    assert isinstance(low, (int, float)) and isinstance(high, (int, float))
    return low, high
