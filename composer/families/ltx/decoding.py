"""How LTX-Video decodes: its later VAEs denoise too, at a timestep and with noise of their own."""

from __future__ import annotations

import torch
from torch import Tensor

from composer.callbacks.request import Request
from composer.families.ltx.latents import LTXLatents
from composer.families.noise import batch_noise
from composer.families.settings import Decoded
from composer.families.vae import decode_latents


class DenoisingVAE(LTXLatents):
    """`arguments.decode_timestep` in `[0, 1]` is the timestep of a VAE that takes one, 0 by default, and
    `arguments.decode_noise_scale` how much of its input is noise, by default as much as the timestep.
    """

    def decode(self, latents: Tensor, request: Request) -> Decoded:
        """Decode latents without noise, which previews do not sample."""
        return self.decode_result(latents, request, ())

    def decode_result(self, latents: Tensor, request: Request, generators: tuple[torch.Generator, ...]) -> Decoded:
        clean, arguments = self.denormalize(self.unpack(latents, self.canvas(request))).to(self.dtype), {}
        if self.pipe.vae.config.timestep_conditioning:
            given = request.inputs.get("arguments", {})
            timestep = given.get("decode_timestep", 0.0)
            clean = self.with_noise(clean, given.get("decode_noise_scale", timestep), generators)
            arguments = {"temb": clean.new_full((len(clean),), timestep)}
        return self.clips(*decode_latents(self, clean, lambda scaled: scaled, arguments=arguments), request)

    def with_noise(self, clean: Tensor, scale: float, generators: tuple[torch.Generator, ...]) -> Tensor:
        """Mix latents with noise, for a scale in `[0, 1]`; as they are without generators."""
        if not scale or not generators:
            return clean
        scales = clean.new_full((len(clean), 1, 1, 1, 1), scale)  # 1 - scale is rounded as diffusers rounds it
        return (1 - scales) * clean + scales * batch_noise(tuple(clean.shape), generators, clean.dtype, clean.device)
