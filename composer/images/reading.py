"""Input images, masks and depth maps: files → PIL images and arrays, or one line that says what is wrong.

One rule makes any image RGB: it is turned as its EXIF tag says, deep pixels are scaled to 8 bits, what is transparent
lies on white, and PIL converts what is left (CMYK, YCbCr, LAB, HSV, palettes, gray). Colour profiles are not applied.
Deep pixels are scaled, never clipped: I;16 from 0–65535; 32-bit integers and floats, which do not say their range, from
the smallest of 0–1 (floats only), 0–255 and 0–65535 that holds them all, else from their least to their greatest value.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from composer.errors import ComposerError, suggest
from composer.images import samples
from composer.images.png import is_png, pixels_alone
from composer.system.paths import expand_user

#: Refused from the header, before a pixel is decoded: a file of 12 kB can hold 100 megapixels.
MAX_PIXELS = 64 * 10**6
#: No format whose reader runs a program (EPS) or is seldom looked at.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
SAMPLE = "sample:"
#: The families round masks here: from this gray on, a pixel is repainted.
HALF = 128
#: Grays this near to black or white are so for the loss of a JPEG.
NEARLY = 24


def is_sample(value: object) -> bool:
    """Whether this names an image that comes with the package."""
    return isinstance(value, str) and value.startswith(SAMPLE)


def open_picture(key: str, value: object) -> Image.Image:
    """A whole, decoded, upright image in the file's own mode; of an animation, the first frame.

    Args:
        key: the config key, for the error.
        value: a path (`~` is expanded), `sample:NAME`, or from Python a PIL image.

    Raises:
        ComposerError: not a text, no such file, not an image, damaged, or more than `MAX_PIXELS`.
    """
    if isinstance(value, Image.Image):  # from Python
        return ImageOps.exif_transpose(value)
    path = _file(key, value)
    try:
        with warnings.catch_warnings(), path.open("rb") as whole:
            warnings.simplefilter("ignore")  # PIL's own about size comes at 89 megapixels
            file = pixels_alone(whole) if is_png(whole) else whole
            file.seek(0)
            _check_header(key, value, Image.open(file, formats=FORMATS))
            file.seek(0)  # the check sums have used the first one up
            return _upright(Image.open(file, formats=FORMATS))
    except ComposerError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(key, value) from None
    except Image.UnidentifiedImageError:
        raise ComposerError(
            key, value, f"is not an image, or its first bytes are damaged (read are {', '.join(FORMATS)})"
        ) from None
    except PermissionError:
        raise ComposerError(key, value, "may not be read: see the file's permissions") from None
    except Exception as error:  # PIL's readers let out whatever a damaged file makes them stumble over
        raise ComposerError(key, value, f"is damaged or cut short: {error or type(error).__name__}") from None


def read_image(key: str, value: object) -> Image.Image:
    """An RGB image, by the rule at the top of this file; raises as `open_picture` does."""
    return _on(_shallow(key, value, open_picture(key, value)), "white")


def read_mask(key: str, value: object, invert: bool = False) -> Image.Image:
    """A mask of mode L; 255 is repainted, 0 is kept.

    The alpha channel where it varies, so that opaque paint on a transparent ground marks the place; else the luminance.

    Args:
        key: the config key, for the error.
        value: as for `open_picture`.
        invert: turn 0 into 255 and 255 into 0, at the very end.

    Raises:
        ComposerError: as `open_picture`; or the lightest pixel is not black, but 1 of 255 at most.
    """
    image = open_picture(key, value)
    mask = _alpha_or_gray(_shallow(key, value, image))
    lightest = mask.getextrema()[1]
    if lightest == 1 or (lightest == 0 and _is_deep(image) and np.asarray(image).max() > 0):
        raise ComposerError(key, value, "holds 0 and 1, or is nearly black: a mask holds 0 (kept) and 255 (repainted)")
    return ImageOps.invert(mask) if invert else mask


def transparent_part(key: str, value: object) -> bool:
    """Whether some of an image is transparent and some of it is not; raises as `open_picture` does."""
    image = open_picture(key, value)
    if _is_deep(image) or not image.has_transparency_data:
        return False
    low, high = _rgba(image).getchannel("A").getextrema()
    return low < high


def gray_share(mask: Image.Image) -> float:
    """How much of a mask of mode L, 0–1, is clearly neither black nor white."""
    counts = mask.histogram()
    return sum(counts[NEARLY : 256 - NEARLY]) / sum(counts)


def mask_doubt(mask: Image.Image) -> str | None:
    """A sentence where a mask of mode L leaves nothing to repaint or nothing to keep, else None."""
    low, high = mask.getextrema()
    if high < HALF:
        return f"{'all black' if high == 0 else 'nowhere lighter than half-way gray'}: nothing is repainted"
    if low >= HALF:
        return f"{'all white' if low == 255 else 'nowhere darker than half-way gray'}: everything is repainted"
    return None


def read_depth(key: str, value: object) -> np.ndarray:
    """A depth map as float32 (H, W), larger is nearer, in the file's own unit and at its precision.

    Colours count by their luminance; what is transparent is far.

    Raises:
        ComposerError: as `open_picture`; or a value is not finite, or all are the same.
    """
    image = open_picture(key, value)
    depth = np.array(image if _is_deep(image) else _on(image, "black").convert("L"), np.float32)
    _check_finite(key, value, depth)
    if depth.min() == depth.max():
        raise ComposerError(key, value, "has the same depth everywhere: a depth map is lighter where things are nearer")
    return depth


def check_size(key: str, image: Image.Image, multiple: int) -> None:
    """Refuse an image with a side of less than `multiple` pixels.

    Raises:
        ComposerError: it is too small for the model to see.
    """
    if min(image.size) < multiple:
        raise ComposerError(
            key, None, f"{image.width} x {image.height} pixels are too few: {multiple} is the least of each side"
        )


def fitted(image: Image.Image, height: int, width: int) -> Image.Image:
    """Scaled to a size in pixels as diffusers scales (Lanczos); the same object where it fits already."""
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)


# --- files ------------------------------------------------------------------------------------------------------------


def _file(key: str, value: object) -> Path:
    """The file that a value names, looked at but not opened: a pipe would wait for ever."""
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
        found, there = path.is_file(), path.exists()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, the home of nobody
        found = there = False
    if not found:
        raise ComposerError(key, value, "is not a regular file" if there else "there is no such file")
    return path


def _sample(key: str, value: str) -> Path:
    name = value.removeprefix(SAMPLE)
    if name not in samples.NAMES:
        allowed = [SAMPLE + each for each in samples.NAMES]
        raise ComposerError(key, value, f"no such sample.{suggest(value, allowed)}", allowed)
    return samples.path(name)


def _check_header(key: str, value: object, image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(key, value)
    if min(image.size) < 1:
        raise ComposerError(key, value, "has no pixels")
    image.verify()  # check sums, where the format has them


def _upright(image: Image.Image) -> Image.Image:
    """Decoded, and turned as its EXIF tag says; a tag that can't be read says nothing."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image.copy()


def _too_large(key: str, value: object) -> ComposerError:
    return ComposerError(key, value, f"has too many pixels: {MAX_PIXELS // 10**6} megapixels are the most")


# --- pixels -----------------------------------------------------------------------------------------------------------


def _is_deep(image: Image.Image) -> bool:
    """More than 8 bits a pixel, always gray: PIL reads 16-bit colours as 8-bit ones."""
    return image.mode in ("I", "F") or image.mode.startswith("I;")


def _shallow(key: str, value: object, image: Image.Image) -> Image.Image:
    """Deep pixels scaled to 0–255 (mode L, or LA where one gray stands for transparent); any other mode as it is."""
    if not _is_deep(image):
        return image
    deep = np.array(image, np.float64)
    _check_finite(key, value, deep)
    low, high = _range(deep, image.mode)
    gray = Image.fromarray(np.rint((deep - low) * (255 / (high - low))).astype(np.uint8))
    if isinstance(clear := image.info.get("transparency"), int):
        gray.putalpha(Image.fromarray(np.where(deep == clear, 0, 255).astype(np.uint8)))
    return gray


def _range(deep: np.ndarray, mode: str) -> tuple[float, float]:
    """The values that black and white have."""
    low, high = float(deep.min()), float(deep.max())
    tops = {"I": (255, 65535), "F": (1, 255, 65535)}.get(mode, (65535,))
    if low >= 0 and high <= tops[-1]:
        return 0, next(top for top in tops if high <= top)
    return low, high if low < high else np.inf


def _on(image: Image.Image, ground: str) -> Image.Image:
    """Not deep → RGB, what is transparent composited over a colour."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    below = Image.new("RGBA", image.size, ground)
    below.alpha_composite(_rgba(image))
    return below.convert("RGB")


def _rgba(image: Image.Image) -> Image.Image:
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")  # PIL knows no way from La to RGBA


def _alpha_or_gray(image: Image.Image) -> Image.Image:
    """Not deep → L. An alpha channel that is the same everywhere says nothing, and is left out of account."""
    if not image.has_transparency_data:
        return image.convert("RGB").convert("L")
    rgba = _rgba(image)
    alpha = rgba.getchannel("A")
    low, high = alpha.getextrema()
    return alpha if low < high else rgba.convert("RGB").convert("L")


def _check_finite(key: str, value: object, pixels: np.ndarray) -> None:
    if not np.isfinite(pixels).all():
        raise ComposerError(key, value, "holds values that are not finite numbers")
