"""Preview of the denoising: the predicted clean image of each step, as frames and as one animation an image."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

from PIL import Image

from composer.callbacks.base import Run, Step, StepCallback
from composer.media.medium import poster
from composer.system.constraints import Ge

if TYPE_CHECKING:
    from torch import Tensor

    from composer.media.medium import Medium

#: How often the finished image is repeated at the end of an animation, in frames.
LAST_FRAME_REPEATS = 8


class Preview(StepCallback):
    """Write an animation of the predicted clean images (x₀, not x_t) to `preview-000.webp`; of a clip the middle frame.

    Args:
        every: Iterations between two frames, >= 1.
        decode: How frames are decoded. `latents` maps latents linearly to colours, by the map that fits the finished
            image best; this adds no cost to the steps. `vae` decodes each frame with the VAE.
        format: Format of the animation, `webp` or `gif`.
        frames: Whether to write each frame as a PNG too, to `preview/`.
        size: Longer edge of the animation, in pixels, >= 1.
        milliseconds: Duration of a frame, in milliseconds, >= 1.

    Raises:
        ComposerError: An argument is out of range.
    """

    media = frozenset({"image", "clip"})

    def __init__(
        self,
        every: Annotated[int, Ge(1)] = 1,
        decode: Literal["latents", "vae"] = "latents",
        format: Literal["webp", "gif"] = "webp",
        frames: bool = False,
        size: Annotated[int, Ge(1)] = 256,
        milliseconds: Annotated[int, Ge(1)] = 120,
    ) -> None:
        self.every, self.decode, self.format = every, decode, format
        self.frames, self.size, self.milliseconds = frames, size, milliseconds
        self.seen: list[Tensor | list[Image.Image]] = []
        self.stage = 0

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        """Collect frames of one run only."""
        self.seen, self.stage = [], 0
        yield
        self.seen = []

    def after_predict(self, step: Step, prediction: Tensor) -> None:
        """Keep the predicted clean latents of every n-th iteration and of the last."""
        if step.stage != self.stage:  # latents of an earlier loop are another's, such as a prior's
            self.seen, self.stage = [], step.stage
        if self.run.folder is not None and (step.index % self.every == 0 or step.index + 1 == step.total):
            clean = self.run.denoised(step, prediction)
            middle = middle_frame(clean, latent_channels(self.run))
            # packed latents have no height and width to map, and pixels are images already: the family decodes both
            if self.decode == "vae" or middle is None or middle.shape[1] == 3:
                self.seen.append([poster(medium) for medium in self.run.decode(clean)])
            else:
                self.seen.append(middle.float().cpu())

    def after_decode(self, run: Run, images: list[Medium]) -> None:
        """Write the animations and the frames."""
        if run.folder is None or not self.seen:
            return
        from composer.system.files import encode_png, write_atomically

        finals = [poster(medium) for medium in images]
        shown = paint_latents(self.seen, finals)
        for i, final in enumerate(finals):
            frames = [self.resize_to(batch[i], final.size) for batch in shown]
            last = [self.resize_to(final, final.size)] * LAST_FRAME_REPEATS
            write_atomically(run.folder / f"preview-{i:03d}.{self.format}", self.encode_animation([*frames, *last]))
            for number, frame in enumerate(frames if self.frames else []):
                write_atomically(run.folder / "preview" / f"{i:03d}-{number:03d}.png", encode_png(frame))

    def resize_to(self, image: Image.Image, proportions: tuple[int, int]) -> Image.Image:
        """Scale a frame to the preview's size.

        Args:
            image: The frame.
            proportions: Width and height of the finished image, in pixels.

        Returns:
            An image in these proportions, with a longer edge of `size` pixels.
        """
        scale = self.size / max(proportions)
        width, height = (round(length * scale) for length in proportions)
        return image.resize((width, height), Image.Resampling.BICUBIC)

    def encode_animation(self, frames: Sequence[Image.Image]) -> bytes:
        """Encode an animated WebP or GIF that repeats forever.

        Args:
            frames: Images of one size, one at least.

        Returns:
            The contents of the file.
        """
        buffer = io.BytesIO()
        options = {"quality": 85} if self.format == "webp" else {}
        timing = {"duration": self.milliseconds, "loop": 0}
        frames[0].save(buffer, self.format.upper(), save_all=True, append_images=frames[1:], **timing, **options)
        return buffer.getvalue()


def latent_channels(run: Run) -> int | None:
    """Get the number of channels of a run's latents, by the config of its VAE.

    Args:
        run: The run.

    Returns:
        The number; `None` if no VAE says it.
    """
    config = getattr(run.modules.get("vae"), "config", {})
    return config.get("latent_channels") or config.get("z_dim")


def middle_frame(latents: Tensor, channels: int | None) -> Tensor | None:
    """Get the middle frame of latents with height and width.

    Args:
        latents: Latents of images `(B, C, h, w)`, or of clips `(B, C, F, h, w)` or `(B, F, C, h, w)`.
        channels: Number of channels, which distinguishes channels from frames.

    Returns:
        `(B, C, h, w)`; `None` for latents in another layout.
    """
    if latents.ndim == 5 and channels in latents.shape[1:3]:
        frames = 2 if latents.shape[1] == channels else 1
        return latents.select(frames, latents.shape[frames] // 2)
    return latents if latents.ndim == 4 else None


def paint_latents(seen: Sequence[Tensor | list[Image.Image]], images: Sequence[Image.Image]) -> list[list[Image.Image]]:
    """Map predicted clean latents to colours.

    Args:
        seen: For each frame latents, `(B, C, h, w)` of float32, or images that are decoded already and stay as they
            are.
        images: The finished images, B of them.

    Returns:
        For each frame B images, of w × h pixels where they are painted.
    """
    latents = [frame for frame in seen if not isinstance(frame, list)]
    if not latents:
        return [frame for frame in seen if isinstance(frame, list)]
    colours = fit_colour_map(latents[-1], images)
    batch, _, height, width = latents[-1].shape
    pixels = [
        (_append_ones(frame) @ colours).clamp(0, 255).round().byte().view(batch, height, width, 3).numpy()
        for frame in latents
    ]
    return [[Image.fromarray(image) for image in frame] for frame in pixels]


def fit_colour_map(latents: Tensor, images: Sequence[Image.Image]) -> Tensor:
    """Fit a linear map from latents to colours by least squares.

    Args:
        latents: Clean latents, `(B, C, h, w)` of float32.
        images: The images that they decode to, B of them.

    Returns:
        The map from C channels and a constant 1 to RGB in `[0, 255]`, `(C + 1, 3)`.
    """
    import numpy as np
    import torch

    height, width = latents.shape[2:]
    small = [np.asarray(image.resize((width, height), Image.Resampling.BOX), np.float32) for image in images]
    colours = torch.from_numpy(np.stack(small)).reshape(-1, 3)
    solution: Tensor = torch.linalg.lstsq(_append_ones(latents), colours).solution
    return solution


def _append_ones(latents: Tensor) -> Tensor:
    """(B, C, h, w) → (B · h · w, C + 1)."""
    import torch

    rows = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
    return torch.cat([rows, torch.ones(len(rows), 1)], 1)
