"""Latents of patches whose channels the VAE normalizes by the statistics of a batch norm, as FLUX.2's VAE does."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from composer.callbacks.request import Request
from composer.families.flow import FlowTransformer, grid_of
from composer.families.noise import batch_noise


class PatchNorm(FlowTransformer):
    """Latents packed from 2 × 2 patches: `(B, H/2f · W/2f, 4 · channels)` on a VAE with f pixels per latent."""

    pack_factor = 4

    def start_noise(self, request: Request, generators: tuple[torch.Generator, ...]) -> Tensor:
        rows, columns = grid_of(self.canvas(request), self.vae_scale_factor * self.patch_size)
        shape = (request.batch, self.channels * self.pack_factor, rows, columns)
        return _flatten(batch_noise(shape, generators, self.latents_dtype, self.device))

    def pack(self, latents: Tensor) -> Tensor:
        return _flatten(F.pixel_unshuffle(latents, self.patch_size))

    def unpack(self, latents: Tensor, canvas: tuple[int, ...]) -> Tensor:
        grid = grid_of(canvas, self.vae_scale_factor * self.patch_size)
        return F.pixel_shuffle(latents.transpose(1, 2).unflatten(2, grid), self.patch_size)

    def normalize(self, encoded: Tensor) -> Tensor:
        mean, deviation = self._statistics(encoded)
        return F.pixel_shuffle((F.pixel_unshuffle(encoded, self.patch_size) - mean) / deviation, self.patch_size)

    def denormalize(self, latents: Tensor) -> Tensor:
        mean, deviation = self._statistics(latents)
        return F.pixel_shuffle(F.pixel_unshuffle(latents, self.patch_size) * deviation + mean, self.patch_size)

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Running mean and standard deviation of the patches' channels, `(1, 4 · C, 1, 1)` each."""
        norm, epsilon = self.pipe.vae.bn, self.pipe.vae.config.batch_norm_eps
        deviation = torch.sqrt(norm.running_var.view(1, -1, 1, 1) + epsilon)
        return norm.running_mean.view(1, -1, 1, 1).to(like), deviation.to(like)


def _flatten(patches: Tensor) -> Tensor:
    """Patches `(B, C, h, w)` as tokens `(B, h · w, C)`."""
    return patches.flatten(2).transpose(1, 2)
