"""Variations of an image: img2img with an unprompted model, with a seed for each."""

from __future__ import annotations

from composer.tasks.img2img import Img2Img


class Variations(Img2Img):
    """Img2img without prompts."""

    pass
