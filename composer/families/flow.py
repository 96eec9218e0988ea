"""Shared by transformers trained by flow matching: a family defines how it embeds texts and calls its denoiser.

The rest follows from a few constants and from how latents are packed and normalized.
https://arxiv.org/abs/2210.02747
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from composer.callbacks.base import Conditioning, Embedding, Step
from composer.callbacks.request import Request
from composer.compat.pipeline_functions import flux_shift
from composer.families.latent import LatentFamily
from composer.families.noise import batch_noise
from composer.families.passes import predict_branches
from composer.families.references import References, encode_rows
from composer.families.settings import Decoded
from composer.families.vae import encode_pixels, resize_mask
from composer.sampling.guidance import Branches, classifier_free
from composer.system.signatures import keywords_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from composer.media.medium import Medium


class FlowTransformer(LatentFamily):
    """Latents `(B, C, H/f, W/f)`, or packed by the family, on a VAE with f pixels per latent.

    Attributes:
        patch_size: Latents along one side of a token.
        pack_factor: Latents that one position of the denoiser's input holds.
        fp32_latents: Whether latents are fp32 whatever the dtype of the denoiser, as in the family's pipelines.
        one_pass: Whether both branches are evaluated in one batch, as in the family's pipelines. In two passes the
            embeddings of the branches may differ in length.
        always_passes_sigmas: Whether the family's pipelines pass their sigmas even to schedulers that have flow sigmas
            of their own (`use_flow_sigmas`).
        samples_vae: Whether an encoded image is a sample of the VAE's distribution; else it is the mode.
    """

    patch_size: ClassVar[int] = 2
    pack_factor: ClassVar[int] = 1
    fp32_latents: ClassVar[bool] = False
    one_pass: ClassVar[bool] = False
    samples_vae: ClassVar[bool] = True
    always_passes_sigmas: ClassVar[bool] = False

    @abstractmethod
    def embed(self, texts: list[str]) -> Embedding:
        """Encode texts of one branch.

        Args:
            texts: Distinct prompts, or negative prompts; the list may be written to.

        Returns:
            Embeddings with one row for each text.
        """

    def embed_negative(self, texts: list[str]) -> Embedding:
        """Encode negative prompts, like prompts by default; see `embed`."""
        return self.embed(texts)

    def normalize(self, encoded: Tensor) -> Tensor:
        """Map latents from the scale of the VAE to that of the denoiser, before packing."""
        config = self.pipe.vae.config
        return (encoded - config.shift_factor) * config.scaling_factor

    def denormalize(self, latents: Tensor) -> Tensor:
        """Map unpacked latents from the scale of the denoiser to that of the VAE."""
        config = self.pipe.vae.config
        return latents / config.scaling_factor + config.shift_factor

    def pack(self, latents: Tensor) -> Tensor:
        """Pack latents `(B, C, h, w)` into the layout of the denoiser; as they are by default."""
        return latents

    def unpack(self, latents: Tensor, canvas: tuple[int, ...]) -> Tensor:
        """Undo `pack`, for results of `canvas` pixels."""
        return latents

    @classmethod
    def sigmas(cls, steps: int) -> Any:
        """Noise levels of the schedule before its shift; ``None`` leaves them to the scheduler."""
        return np.linspace(1.0, 1 / steps, steps)

    @classmethod
    def shift(cls, tokens: int, steps: int, config: Any) -> float | None:
        """Shift μ of the schedule for a number of image tokens; ``None`` for models that have none."""
        return flux_shift(tokens, config)

    @staticmethod
    def combine(positive: Tensor, negative: Tensor, scale: float) -> Tensor:
        """Combine the predictions of both branches, see `Branches.combine`."""
        return classifier_free(positive, negative, scale)

    def encode_references(self, images: Sequence[Image]) -> References:
        """Encode the reference images of one row, for families whose models edit."""
        raise NotImplementedError(f"{type(self).__name__} has no editing models")

    def postprocess(self, pixels: Tensor) -> Sequence[Medium]:
        """Convert decoded pixels, about `[-1, 1]`, to images, one for each row."""
        return self.pipe.image_processor.postprocess(pixels)

    @property
    def takes_guidance_scale(self) -> bool:
        return bool(self._config.get("guidance_embeds"))

    @property
    def channels(self) -> int:
        """Channels of latents before packing."""
        return self.pipe.vae.config.latent_channels

    @property
    def extra_channels(self) -> int:
        return self._config.in_channels // self.pack_factor - self.channels

    @property
    def takes_mask(self) -> bool:
        return self.extra_channels == self.channels + 1

    @property
    def latents_dtype(self) -> torch.dtype:
        """Dtype of latents."""
        return torch.float32 if self.fp32_latents else self.dtype

    def encode_batch(self, request: Request, do_classifier_free_guidance: bool) -> Conditioning:
        negatives = [text or "" for text in request.negative_prompts]
        return Conditioning(
            positive=self.embed(list(request.prompts)),
            negative=self.embed_negative(negatives) if do_classifier_free_guidance else None,
        )

    def encode_image(self, pixels: Tensor, generators: tuple[torch.Generator, ...]) -> Tensor:
        return self.encode_clean(pixels, generators, self.samples_vae)

    def encode_mode(self, pixels: Tensor) -> Tensor:
        return self.encode_clean(pixels, tuple(torch.Generator() for _ in pixels), False)

    def encode_clean(self, pixels: Tensor, generators: tuple[torch.Generator, ...], sample: bool) -> Tensor:
        """Encode pixels to clean latents, a sample of the VAE's distribution or its mode."""
        encoded = encode_pixels(self.pipe.vae, pixels, generators, sample).to(self.latents_dtype)
        return self.pack(self.normalize(encoded))

    def references(self, rows: Sequence[Sequence[Image]]) -> References:
        return encode_rows(self.encode_references, rows)

    def scale_mask(self, mask: Tensor) -> Tensor:
        resized = resize_mask(mask, self.vae_scale_factor, self.device, self.latents_dtype)
        return resized if self.pack_factor == 1 else self.pack(resized.repeat(1, self.channels, 1, 1))

    def start_noise(self, request: Request, generators: tuple[torch.Generator, ...]) -> Tensor:
        rows, columns = (side // self.vae_scale_factor for side in (request.height, request.width))
        shape = (request.batch, self.channels, rows, columns)
        return self.pack(batch_noise(shape, generators, self.latents_dtype, self.device))

    @classmethod
    def set_timesteps(
        cls, scheduler: Any, request: Request, vae_scale_factor: int, device: torch.device | str
    ) -> None:  # fmt: skip
        """Set the family's sigmas and a shift that grows with the image, for the schedulers that take them."""
        config, keywords = scheduler.config, keywords_of(scheduler.set_timesteps)
        side, sigmas, settings = vae_scale_factor * cls.patch_size, cls.sigmas(request.steps), dict[str, Any]()
        if "mu" in keywords and config.get("use_dynamic_shifting"):
            tokens = (request.height // side) * (request.width // side) * request.inputs.get("latent_frames", 1)
            mu = cls.shift(tokens, request.steps, config)
            settings |= {} if mu is None else {"mu": mu}
        passes = "sigmas" in keywords and (cls.always_passes_sigmas or not config.get("use_flow_sigmas"))
        if sigmas is not None and passes:
            scheduler.set_timesteps(sigmas=sigmas, device=device, **settings)
        else:
            scheduler.set_timesteps(request.steps, device=device, **settings)

    def predict(self, step: Step) -> Branches:
        references: References | None = step.inputs.get("references")

        def evaluate(latents: Tensor, embedding: Embedding) -> Tensor:
            tokens = latents.to(self.dtype)
            if references is None:
                return self.forward(step, tokens, embedding).to(step.latents.dtype)
            predictions = self.forward(step, references.append_to(tokens), embedding)
            return predictions[:, : latents.shape[1]].to(step.latents.dtype)

        positive, negative = step.conditioning.require_positive(), step.conditioning.negative
        model_input = self.model_input(step)
        if self.one_pass or negative is None:
            branches = predict_branches(step, model_input, evaluate)
            return Branches(branches.positive, branches.negative, self.combine)
        return Branches(evaluate(model_input, positive), evaluate(model_input, negative), self.combine)

    def decode(self, latents: Tensor, request: Request) -> Decoded:
        pixels, notes = self.decode_latents(self.unpack(latents, self.canvas(request)), self.denormalize)
        return Decoded(media=self.postprocess(pixels), notes=notes)

    @property
    def _config(self) -> Any:
        return getattr(self.pipe, self.denoiser_name).config


def scaled_timesteps(step: Step, latents: Tensor) -> Tensor:
    """Return a step's timestep for each row of `latents`, in `[0, 1]` and their dtype."""
    return step.timestep.expand(len(latents)).to(latents.dtype) / 1000


def embedded_scale(step: Step, latents: Tensor) -> Tensor:
    """Return the guidance scale for each row of `latents`, as an input of guidance-distilled models."""
    return torch.full([1], step.embedded_guidance, device=latents.device).expand(len(latents))


def grid_of(canvas: tuple[int, ...], pixels: int) -> tuple[int, int]:
    """Return rows and columns of tokens with `pixels` along one side."""
    height, width = canvas[-2:]
    return height // pixels, width // pixels
