"""Control models of transformers trained by flow matching, which read the latents of the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from composer.compat.pipeline_functions import pack_flux, sample_latents
from composer.families.vae import encode_pixels
from composer.images.pixels import to_pixels
from composer.options.adapters.control.network import ControlNetwork, Generators, repeated

if TYPE_CHECKING:
    from PIL.Image import Image


class SD3ControlNet(ControlNetwork):
    """For Stable Diffusion 3, whose pipeline encodes an image twice, once for each branch, in a batch of two.

    Those of SD 3.5 large read no text, and take the positions from the transformer.
    """

    @contextmanager
    def attached(self, pipe: Any) -> Iterator[None]:
        if self.model.config.use_pos_embed:
            yield
            return
        self.model.pos_embed = pipe.transformer.pos_embed
        try:
            yield
        finally:
            self.model.pos_embed = None

    def encode(self, pipe: Any, images: Sequence[Image], generators: Generators) -> tuple[Tensor, Tensor]:
        vae, config, encoded = pipe.vae, pipe.vae.config, dict[int, Any]()
        shift = 0 if self.model.config.force_zeros_for_pooled_projection else config.shift_factor
        for image in images:
            if id(image) not in encoded:
                twice = torch.cat([_pixels([image])] * 2).to(vae.device, vae.dtype)
                encoded[id(image)] = vae.encode(twice)
        pairs = [sample_latents(encoded[id(image)], generator) for image, generator in zip(images, generators)]
        first, second = (torch.cat(rows) for rows in zip(*(pair.chunk(2) for pair in pairs)))
        return self._scaled(first, shift, config), self._scaled(second, shift, config)

    def residuals(self, given: Mapping[str, Any], encoded: tuple[Tensor, Tensor], scale: float) -> dict[str, Any]:
        rows, batch, config = len(given["hidden_states"]), len(encoded[0]), self.model.config
        latents = torch.cat([encoded[branch % 2] for branch in range(rows // batch)])
        pooled = given["pooled_projections"]
        blocks = self.model(
            hidden_states=given["hidden_states"], timestep=given["timestep"],
            encoder_hidden_states=None if config.joint_attention_dim is None else given["encoder_hidden_states"],
            pooled_projections=torch.zeros_like(pooled) if config.force_zeros_for_pooled_projection else pooled,
            controlnet_cond=latents, conditioning_scale=scale, return_dict=False,
        )[0]  # fmt: skip
        return {"block_controlnet_hidden_states": blocks}

    def _scaled(self, encoded: Tensor, shift: float, config: Any) -> Tensor:
        return ((encoded - shift) * config.scaling_factor).to(self.model.device, self.model.dtype)


class FluxControlNet(ControlNetwork):
    """For Flux, on packed latents; some are unions of several control models."""

    reuses_residuals = True

    def encode(self, pipe: Any, images: Sequence[Image], generators: Generators) -> Tensor:
        config = pipe.vae.config
        encoded = encode_pixels(pipe.vae, _pixels(images), generators)
        packed = pack_flux(pipe, (encoded - config.shift_factor) * config.scaling_factor)
        return packed.to(self.model.device, self.model.dtype)

    def residuals(self, given: Mapping[str, Any], encoded: Tensor, scale: float) -> dict[str, Any]:
        names = ("timestep", "pooled_projections", "encoder_hidden_states", "txt_ids", "img_ids")
        latents, rows = given["hidden_states"], len(given["hidden_states"])
        mode = None
        if self.found.mode is not None:
            mode = torch.full((rows, 1), self.found.mode, dtype=torch.long, device=latents.device)
        blocks, single_blocks = self.model(
            hidden_states=latents[..., : encoded.shape[-1]], controlnet_cond=repeated(encoded, rows),
            controlnet_mode=mode, conditioning_scale=scale, return_dict=False,
            guidance=given.get("guidance") if self.model.config.guidance_embeds else None,
            **{name: given[name] for name in names},
        )  # fmt: skip
        return {"controlnet_block_samples": blocks, "controlnet_single_block_samples": single_blocks}


class QwenImageControlNet(ControlNetwork):
    """For Qwen-Image, on packed latents of a video VAE."""

    reuses_residuals = True

    def encode(self, pipe: Any, images: Sequence[Image], generators: Generators) -> Tensor:
        encoded = encode_pixels(pipe.vae, _pixels(images).unsqueeze(2), generators)
        config = pipe.vae.config
        mean, std = (
            torch.tensor(values).view(1, -1, 1, 1, 1).to(encoded.device)
            for values in (config.latents_mean, config.latents_std)
        )
        packed = pack_flux(pipe, ((encoded - mean) * (1.0 / std))[:, :, 0])
        return packed.to(self.model.device, self.model.dtype)

    def residuals(self, given: Mapping[str, Any], encoded: Tensor, scale: float) -> dict[str, Any]:
        names = ("hidden_states", "timestep", "encoder_hidden_states", "encoder_hidden_states_mask", "img_shapes")
        image = repeated(encoded, len(given["hidden_states"]))
        inputs = {name: given[name] for name in names}
        blocks = self.model(controlnet_cond=image, conditioning_scale=scale, return_dict=False, **inputs)
        return {"controlnet_block_samples": blocks}


class ZImageControlNet(ControlNetwork):
    """For Z-Image: layers beside those of the transformer, which lends it the modules that both begin with."""

    #: Modules and parameters of the transformer that the model computes with.
    LENT = (
        "t_scale", "t_embedder", "all_x_embedder", "cap_embedder", "rope_embedder", "noise_refiner",
        "context_refiner", "x_pad_token", "cap_pad_token",
    )  # fmt: skip

    @contextmanager
    def attached(self, pipe: Any) -> Iterator[None]:
        type(self.model).from_transformer(self.model, pipe.transformer)
        try:
            yield
        finally:
            for name in self.LENT:
                setattr(self.model, name, None)

    def encode(self, pipe: Any, images: Sequence[Image], generators: Generators) -> Tensor:
        config = pipe.vae.config
        encoded = encode_pixels(pipe.vae, _pixels(images), generators, sample=False)
        latents = ((encoded - config.shift_factor) * config.scaling_factor).unsqueeze(2)
        batch, channels, *sides = latents.shape
        more = latents.new_zeros(batch, self.model.config.control_in_dim - channels, *sides)
        return torch.cat([latents, more], dim=1).to(self.model.device, self.model.dtype)

    def residuals(self, given: Mapping[str, Any], encoded: Tensor, scale: float) -> dict[str, Any]:
        images, times, texts = given["x"], given["t"], given["cap_feats"]
        rows = list(repeated(encoded, len(images)))
        blocks = self.model(list(images), times, list(texts), rows, conditioning_scale=scale)
        return {"controlnet_block_samples": blocks}


def _pixels(images: Sequence[Image]) -> Tensor:
    """Pixels in the memory format that diffusers' pipelines give control images: convolutions sum in its order."""
    return to_pixels(images).contiguous()
