"""Images, clips and sounds alike: an image is one of PIL's, and the others say the same of themselves."""

from __future__ import annotations

import hashlib
from typing import Any, TypeAlias

from PIL import Image

from composer.media.clip import Clip
from composer.media.formats import Kind
from composer.media.sound import Sound

Medium: TypeAlias = Image.Image | Clip | Sound


def kind_of(medium: Medium) -> Kind:
    """Get the kind of a medium.

    Args:
        medium: An image, a clip or a sound.

    Returns:
        `image`, `clip` or `sound`.
    """
    return "clip" if isinstance(medium, Clip) else "sound" if isinstance(medium, Sound) else "image"


def digest(medium: Medium) -> str:
    """Hash what a medium shows or plays, whatever file it is written to.

    Args:
        medium: An image, a clip or a sound.

    Returns:
        SHA-256 in hexadecimal: of an image's pixels, of all frames of a clip, of all samples of a sound.
    """
    return hashlib.sha256(medium.tobytes()).hexdigest() if isinstance(medium, Image.Image) else medium.digest()


def poster(medium: Medium) -> Image.Image:
    """Get the image that is shown for a medium.

    Args:
        medium: An image, a clip or a sound.

    Returns:
        An RGB image: the image itself, the middle frame of a clip, the waveform of a sound.
    """
    return medium if isinstance(medium, Image.Image) else medium.poster()


def facts(medium: Medium) -> dict[str, Any]:
    """Describe a medium as plain data.

    Args:
        medium: An image, a clip or a sound.

    Returns:
        Its `kind`, and its size, rate and duration.
    """
    if isinstance(medium, Image.Image):
        return {"kind": "image", "width": medium.width, "height": medium.height}
    return medium.facts()
