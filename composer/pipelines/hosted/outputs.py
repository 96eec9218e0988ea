"""A pipeline's output → what composer keeps of it. Only this module knows the fields of diffusers' outputs."""

from __future__ import annotations

from typing import Any

from PIL import Image

from composer.checks.pipeline_class import IMAGES
from composer.errors import ComposerError
from composer.families.settings import Decoded


def decoded_of(output: Any) -> Decoded:
    """Get the images of a pipeline's output, and the flags of its safety checker.

    Args:
        output: An output of diffusers.

    Returns:
        The images.

    Raises:
        ComposerError: It holds no images.
    """
    images = next((getattr(output, name) for name in IMAGES if hasattr(output, name)), None)
    if not isinstance(images, list) or not all(isinstance(image, Image.Image) for image in images):
        reason = f"this pipeline makes {type(output).__name__} and no images, which composer can't write"
        raise ComposerError("model.source", None, reason)
    nsfw = getattr(output, "nsfw_content_detected", None) or ()
    return Decoded(media=images, flagged=tuple(bool(flag) for flag in nsfw))
