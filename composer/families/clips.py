"""Shared by families of clips: latents have an axis for frames, and frames are decoded to clips."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from composer.callbacks.request import Request
from composer.families.flow import FlowTransformer
from composer.families.noise import batch_noise
from composer.families.settings import Decoded
from composer.media.clip import Clip

if TYPE_CHECKING:
    from PIL.Image import Image


class ClipTransformer(FlowTransformer):
    """Latents `(B, C, F, H/f, W/f)` in fp32 for every dtype, or packed by the family."""

    fp32_latents = True

    @property
    @abstractmethod
    def temporal_factor(self) -> int:
        """Frames of a clip in each latent frame but the first, which has one."""

    def canvas(self, request: Request) -> tuple[int, ...]:
        return request.inputs["frames"], request.height, request.width

    def latent_frames(self, request: Request) -> int:
        """Return the number of latent frames of each clip."""
        return (request.inputs["frames"] - 1) // self.temporal_factor + 1

    def pixels(self, images: Sequence[Image], request: Request) -> Tensor:
        """Scale images to the clips' size, as clips of one frame: `(B, 3, 1, H, W)` in `[-1, 1]`."""
        size = {"height": request.height, "width": request.width}
        return self.pipe.video_processor.preprocess(list(images), **size).unsqueeze(2)

    def first_frame(self, request: Request) -> Tensor:
        """Mark the first latent frame: `(1, 1, F, h, w)`, 1 there and 0 elsewhere."""
        rows, columns = (side // self.vae_scale_factor for side in (request.height, request.width))
        mask = torch.zeros(1, 1, self.latent_frames(request), rows, columns, device=self.device)
        mask[:, :, 0] = 1
        return mask

    def scale_mask(self, mask: Tensor) -> Tensor:
        return super().scale_mask(mask).unsqueeze(2)

    def start_noise(self, request: Request, generators: tuple[torch.Generator, ...]) -> Tensor:
        rows, columns = (side // self.vae_scale_factor for side in (request.height, request.width))
        shape = (request.batch, self.channels, self.latent_frames(request), rows, columns)
        return self.pack(batch_noise(shape, generators, self.latents_dtype, self.device))

    def decode(self, latents: Tensor, request: Request) -> Decoded:
        return self.clips(*self.decode_latents(self.unpack(latents, self.canvas(request)), self.denormalize), request)

    def clips(self, pixels: Tensor, notes: tuple[str, ...], request: Request) -> Decoded:
        """Convert decoded pixels `(B, 3, frames, H, W)`, about `[-1, 1]`, to clips."""
        clips = self.pipe.video_processor.postprocess_video(pixels, output_type="pil")
        return Decoded(media=[Clip(frames, request.inputs["fps"]) for frames in clips], notes=notes)
