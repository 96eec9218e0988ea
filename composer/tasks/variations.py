"""Variations of one image: what an unprompted model makes of it from half-way back to noise, a seed for each."""

from __future__ import annotations

from composer.tasks.img2img import Img2Img


class Variations(Img2Img):
    pass
