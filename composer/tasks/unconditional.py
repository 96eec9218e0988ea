"""Pictures from noise alone."""

from __future__ import annotations

from composer.tasks.text2img import Text2Img


class Unconditional(Text2Img):
    keys = ()
    text = False
