"""Watch the denoising: the estimate of the finished image at every step, as frames and as one animation an image."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

from PIL import Image

from composer.callbacks.base import Run, Step, StepCallback
from composer.system.constraints import Ge

if TYPE_CHECKING:
    from torch import Tensor

#: The finished image is shown for so many frames.
REST = 8


class Preview(StepCallback):
    """Shows x₀, not x_t: what the model believes the image to be.

    every: iterations from frame to frame. decode: latents paints them by the linear map to colours that suits the
    finished
    image best, at no cost to the run; vae decodes each in full. format: of the animation. frames: also keep each as a
    PNG.
    size: of the longer edge in pixels. milliseconds: that a frame is shown.
    """

    def __init__(
        self,
        every: Annotated[int, Ge(1)] = 1,
        decode: Literal["latents", "vae"] = "latents",
        format: Literal["webp", "gif"] = "webp",
        frames: bool = False,
        size: Annotated[int, Ge(1)] = 256,
        milliseconds: Annotated[int, Ge(1)] = 120,
    ) -> None:
        self.every, self.decode, self.format, self.frames, self.size, self.milliseconds = (
            every,
            decode,
            format,
            frames,
            size,
            milliseconds,
        )
        self.run: Run | None = None
        self.seen: list[Tensor | list[Image.Image]] = []

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        self.run, self.seen = run, []
        yield
        self.run, self.seen = None, []

    def after_predict(self, step: Step, prediction: Tensor) -> None:
        if self.run.folder is not None and (step.index % self.every == 0 or step.index + 1 == step.total):
            clean = self.run.denoised(step, prediction)
            # packed latents have no shape to paint, and pixels are images already: both are the family's to decode
            by_family = self.decode == "vae" or clean.ndim != 4 or clean.shape[1] == 3
            self.seen.append(self.run.decode(clean) if by_family else clean.float().cpu())

    def after_decode(self, run: Run, images: list[Image.Image]) -> None:
        if run.folder is None or not self.seen:
            return
        from composer.system.files import write

        shown = painted(self.seen, images)
        for i, final in enumerate(images):
            frames = [self.fitted(pictures[i], final.size) for pictures in shown]
            last = [self.fitted(final, final.size)] * REST
            write(run.folder / f"preview-{i:03d}.{self.format}", self.animation([*frames, *last]))
            for number, frame in enumerate(frames if self.frames else []):
                write(run.folder / "preview" / f"{i:03d}-{number:03d}.png", png(frame))

    def fitted(self, image: Image.Image, like: tuple[int, int]) -> Image.Image:
        """Scaled to the finished image's proportions."""
        scale = self.size / max(like)
        return image.resize((round(like[0] * scale), round(like[1] * scale)), Image.Resampling.BICUBIC)

    def animation(self, frames: list[Image.Image]) -> bytes:
        """An endless animated WebP or GIF."""
        buffer = io.BytesIO()
        more = {"quality": 85} if self.format == "webp" else {}
        frames[0].save(
            buffer, self.format.upper(), save_all=True, append_images=frames[1:], duration=self.milliseconds, loop=0, **more
        )  # fmt: skip
        return buffer.getvalue()


def painted(seen: list[Tensor | list[Image.Image]], images: list[Image.Image]) -> list[list[Image.Image]]:
    """x₀ estimates (B, C, h, w) → images of w × h pixels; what is decoded already stays as it is."""
    if isinstance(seen[-1], list):
        return seen
    colours = fit(seen[-1], images)
    batch, _, height, width = seen[-1].shape
    pixels = [
        (with_one(latents) @ colours).clamp(0, 255).round().byte().view(batch, height, width, 3).numpy()
        for latents in seen
    ]
    return [[Image.fromarray(each) for each in batch] for batch in pixels]


def fit(latents: Tensor, images: list[Image.Image]) -> Tensor:
    """The least-squares map (C + 1, 3) from latents and 1 to colours of 0–255, from decoded images of these latents."""
    import numpy as np
    import torch

    height, width = latents.shape[2:]
    small = [np.asarray(image.resize((width, height), Image.Resampling.BOX), np.float32) for image in images]
    wanted = torch.from_numpy(np.stack(small)).reshape(-1, 3)
    return torch.linalg.lstsq(with_one(latents), wanted).solution


def with_one(latents: Tensor) -> Tensor:
    """(B, C, h, w) → (B · h · w, C + 1)."""
    import torch

    rows = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
    return torch.cat([rows, torch.ones(len(rows), 1)], 1)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
