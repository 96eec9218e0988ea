"""Wan's image to video: the first frame, and maybe the last, as input channels of the denoiser or in its latents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from composer.callbacks.request import Request
from composer.families.channel_statistics import ChannelStatistics
from composer.families.clips import ClipTransformer
from composer.families.given_frames import GivenFrames
from composer.families.vae import encode_pixels

if TYPE_CHECKING:
    from PIL.Image import Image


class BeginsWithImage(ClipTransformer, ChannelStatistics):
    """A family of clips that may begin with an image, and end with another one.

    The 14B models take 4 channels that mark the given frames, and the latents of a clip that is gray elsewhere;
    those of Wan 2.1 also what CLIP reads in the images. The 5B model finds the first frame in the latents.
    """

    def given_frames(self, request: Request, generators: tuple[torch.Generator, ...]) -> GivenFrames:
        first, last = request.inputs["image"], request.inputs.get("last_image")
        if self.pipe.config.expand_timesteps:
            clean = self._encode(self.pixels(first, request), generators)
            clean = clean.repeat(1, 1, self.latent_frames(request), 1, 1)
            return GivenFrames(clean=clean, mask=self.first_frame(request))
        pixels = self.pixels(first, request)
        gray = pixels.new_zeros(*pixels.shape[:2], request.inputs["frames"] - 1, *pixels.shape[3:])
        clip = torch.cat([pixels, gray], dim=2)
        if last is not None:
            clip[:, :, -1:] = self.pixels(last, request)
        clean = self._encode(clip, generators)
        marks = self._marks(clean, request, last is not None)
        return GivenFrames(channels=torch.cat([marks, clean], dim=1), hidden=self._read(first, last))

    def _encode(self, clip: Tensor, generators: tuple[torch.Generator, ...]) -> Tensor:
        return self.normalize(encode_pixels(self.pipe.vae, clip, generators, sample=False).to(self.latents_dtype))

    def _marks(self, clean: Tensor, request: Request, has_last: bool) -> Tensor:
        """Mark given frames in as many channels as a latent has frames; the first one counts for all of its latent."""
        factor = self.temporal_factor
        marks = clean.new_zeros(len(clean), factor, *clean.shape[2:])
        marks[:, :, 0] = 1
        if has_last:
            marks[:, -1, -1] = 1
        return marks

    def _read(self, first: Sequence[Image], last: Sequence[Image] | None) -> Tensor | None:
        """Hidden states of CLIP for the images of each clip, those of the last frame after those of the first."""
        if self.pipe.transformer.config.image_dim is None:
            return None
        pairs = [[one] for one in first] if last is None else [list(pair) for pair in zip(first, last)]
        return torch.cat([self.pipe.encode_image(pair, self.device) for pair in pairs]).to(self.dtype)


def timesteps_of_tokens(timestep: Tensor, latents: Tensor, given: GivenFrames) -> Tensor:
    """Return the timestep of each token of latents `(B, C, F, h, w)`: 0 where frames are given."""
    noisy = torch.ones_like(latents[0, 0, :, ::2, ::2], dtype=torch.float32)
    if given.mask is not None:
        noisy = noisy * (1 - given.mask[0, 0, :, ::2, ::2])
    return (noisy * timestep).flatten()
