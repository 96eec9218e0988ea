"""Control models of UNets, for Stable Diffusion and SDXL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from composer.images.pixels import to_unit_pixels
from composer.options.adapters.control.network import ControlNetwork, Generators, repeated

if TYPE_CHECKING:
    from PIL.Image import Image


class ControlNet(ControlNetwork):
    """A copy of the UNet's way down that reads the image too. https://arxiv.org/abs/2302.05543"""

    def encode(self, pipe: Any, images: Sequence[Image], generators: Generators) -> Tensor:
        return self.pixels(images)

    def residuals(self, given: Mapping[str, Any], encoded: Tensor, scale: float) -> dict[str, Any]:
        sample, pools = given["sample"], self.model.config.global_pool_conditions
        # a model that pools is for the prompt alone: of two branches or more, the first is the negative one
        first = len(encoded) if pools and len(sample) > len(encoded) else 0
        channels = self.model.config.in_channels  # inpainting and depth models take more than latents
        latents = sample if sample.shape[1] == channels else sample[:, :channels].contiguous()
        image = self.conditions(repeated(encoded, len(sample) - first))
        more = given.get("added_cond_kwargs") or {}
        down, mid = self.model(
            latents[first:], given["timestep"], encoder_hidden_states=given["encoder_hidden_states"][first:],
            added_cond_kwargs={name: more[name][first:] for name in ("text_embeds", "time_ids") if name in more},
            conditioning_scale=scale, guess_mode=pools, return_dict=False, **image,
        )  # fmt: skip
        if first:
            mid, *down = (torch.cat([torch.zeros_like(part[:first]), part]) for part in (mid, *down))
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}

    def conditions(self, pixels: Tensor) -> dict[str, Any]:
        """Arguments of the model that are about the image.

        Args:
            pixels: `(B, 3, H, W)` in `[0, 1]`, a row for each row of latents.

        Returns:
            Arguments by name.
        """
        return {"controlnet_cond": pixels}


class ControlNetUnion(ControlNet):
    """One model for several kinds of images, of which a run says which one it has. https://arxiv.org/abs/2407.07614"""

    def conditions(self, pixels: Tensor) -> dict[str, Any]:
        mode = self.found.mode
        kinds = torch.zeros(len(pixels), self.model.config.num_control_type).to(pixels)
        kinds[:, mode] = 1
        return {"controlnet_cond": [pixels], "control_type": kinds, "control_type_idx": [mode]}


class T2IAdapter(ControlNetwork):
    """Features of the image alone, computed once a run. https://arxiv.org/abs/2302.08453"""

    def encode(self, pipe: Any, images: Sequence[Image], generators: Generators) -> list[Tensor]:
        gray = self.model.config.in_channels == 1
        features = {id(image): self._features(image.convert("L") if gray else image) for image in images}
        rows = [features[id(image)] for image in images]
        return [torch.cat(parts) for parts in zip(*rows)]

    def residuals(self, given: Mapping[str, Any], encoded: list[Tensor], scale: float) -> dict[str, Any]:
        rows = len(given["sample"])
        return {"down_intrablock_additional_residuals": [repeated(features * scale, rows) for features in encoded]}

    def _features(self, image: Image) -> list[Tensor]:
        features: list[Tensor] = self.model(to_unit_pixels([image]).to(self.model.device, self.model.dtype))
        return features
