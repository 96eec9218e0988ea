"""LTX-Video's latents: packed, and normalized by channel."""

from __future__ import annotations

from torch import Tensor

from composer.compat.pipeline_functions import pack_ltx, unpack_ltx
from composer.families.clips import ClipTransformer


class LTXLatents(ClipTransformer):
    """Latents `(B, F · H/32 · W/32, C)` with 8 frames each, but for the first, which has one."""

    patch_size = 1

    @property
    def vae_scale_factor(self) -> int:
        return self.pipe.vae_spatial_compression_ratio

    @property
    def temporal_factor(self) -> int:
        return self.pipe.vae_temporal_compression_ratio

    def normalize(self, encoded: Tensor) -> Tensor:
        mean, deviation = self._statistics(encoded)
        return (encoded - mean) * self.pipe.vae.config.scaling_factor / deviation

    def denormalize(self, latents: Tensor) -> Tensor:
        mean, deviation = self._statistics(latents)
        return latents * deviation / self.pipe.vae.config.scaling_factor + mean

    def pack(self, latents: Tensor) -> Tensor:
        return pack_ltx(self.pipe, latents)

    def unpack(self, latents: Tensor, canvas: tuple[int, ...]) -> Tensor:
        return unpack_ltx(self.pipe, latents, *self.grid(canvas))

    def grid(self, canvas: tuple[int, ...]) -> tuple[int, int, int]:
        """Return frames, rows and columns of latents for a clip's frames, height and width in pixels."""
        frames, *sides = canvas
        rows, columns = (side // self.vae_scale_factor for side in sides)
        return (frames - 1) // self.temporal_factor + 1, rows, columns

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel, which are buffers of the VAE."""
        mean, deviation = (
            part.view(1, -1, 1, 1, 1).to(like) for part in (self.pipe.vae.latents_mean, self.pipe.vae.latents_std)
        )
        return mean, deviation
