"""Images from a text: denoising starts from noise."""

from __future__ import annotations

from typing import ClassVar

from composer.callbacks.request import Request
from composer.families.base import Family
from composer.sampling.sampler import Sampler
from composer.tasks.base import Start, Task


class Text2Img(Task):
    """Generate images from prompts."""

    keys: ClassVar[tuple[str, ...]] = ("prompt", "negative_prompt", "height", "width")
    pipeline_kind = "text2img"

    def start(self, family: Family, sampler: Sampler, request: Request) -> Start:
        noise = family.start_noise(request, sampler.generators)
        return Start(latents=noise * sampler.initial_sigma)
