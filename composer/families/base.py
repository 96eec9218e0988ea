"""The seam between a model layout and everything else.

A family knows how to encode a prompt, what one prediction is and how to decode. It knows no task, no guidance scale, no
callback. Latents are opaque outside of it.
"""

from __future__ import annotations

from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from composer.callbacks.base import Conditioning, Embedding, Step
from composer.callbacks.request import Request
from composer.families.distinct import once
from composer.families.settings import Decoded, FamilySettings
from composer.sampling.guidance import Branches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import torch
    from PIL.Image import Image
    from torch import Tensor, nn


#: What denoisers compute in, which no model changes; diffusers walks through all of its layers to tell.
_dtypes: WeakKeyDictionary[nn.Module, torch.dtype] = WeakKeyDictionary()


class DiffusersFamily:
    """What families share: a diffusers pipeline that holds the components and lends its helpers.

    Args:
        holder: the pipeline, shared between runs.
        settings: of the run, None for the usual ones. Nothing is set on a family after it was made, so that no run
        finds what
            another has left.
    """

    #: Whether prompts can be read in windows.
    chunks = False
    #: Extra inputs of the denoiser that have no row for each image.
    shared: frozenset[str] = frozenset()

    def __init__(self, pipe: Any, settings: FamilySettings | None = None) -> None:
        vars(self).update(pipe=pipe, settings=settings or FamilySettings())

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} can't be set: pass FamilySettings to the constructor")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} can't be deleted")

    @property
    def chunked(self) -> bool:
        """Whether prompts are read whole, however long they are."""
        return self.settings.long_prompts == "chunk"

    @cached_property  # diffusers walks through all modules to find it; who knows it says so
    def device(self) -> torch.device:
        return self.settings.device or self.pipe._execution_device

    @cached_property
    def dtype(self) -> torch.dtype:
        if self.denoiser not in _dtypes:
            _dtypes[self.denoiser] = self.denoiser.dtype
        return _dtypes[self.denoiser]

    @property
    def factor(self) -> int:
        return self.pipe.vae_scale_factor

    @property
    def takes_mask(self) -> bool:
        return False

    @cached_property  # it is asked for many times a run, and diffusers looks at its signature each time
    def modules(self) -> dict[str, nn.Module]:
        return {name: part for name, part in self.pipe.components.items() if hasattr(part, "named_modules")}

    @property
    def predictor(self) -> str:
        """The denoiser's name among the components."""
        return "unet" if "unet" in self.modules else "transformer"

    @property
    def denoiser(self) -> nn.Module:
        return self.modules[self.predictor]

    def encode(self, request: Request, contrast: bool) -> Conditioning:
        """Embeddings of a request's texts; texts that are equal are encoded once."""
        return once(self.encoded, request, contrast, self.shared)

    def encoded(self, request: Request, contrast: bool) -> Conditioning:
        """Embeddings of texts, a row for each image of the request: what each family does its own way."""
        raise NotImplementedError

    def embedding(
        self, hidden: Tensor, pooled: Tensor | None = None, extra: Mapping[str, Tensor] = MappingProxyType({})
    ) -> Embedding:
        """What the text encoders made, in the numbers that the denoiser computes with."""
        pooled = None if pooled is None else pooled.to(self.dtype)
        return Embedding(
            hidden=hidden.to(self.dtype),
            pooled=pooled,
            extra={name: each.to(self.dtype) for name, each in extra.items()},
        )

    def tokens(self, prompt: str) -> list[str]:
        return spelled(self.pipe.tokenizer, prompt)

    @property
    def reader(self) -> tuple[Any, int] | None:
        """The tokenizer of the encoder that reads furthest, and how many tokens that is; None where there is none."""
        found = next(
            (each for name in ("tokenizer", "tokenizer_2") if (each := getattr(self.pipe, name, None)) is not None),
            None,
        )
        return None if found is None else (found, found.model_max_length)


def spelled(tokenizer: Any, prompt: str, length: int | None = None) -> list[str]:
    """A prompt as `length` tokens, None for as many as the tokenizer allows, cut or padded as diffusers' pipelines do
    it.
    """
    most = length or tokenizer.model_max_length
    return tokenizer.convert_ids_to_tokens(
        tokenizer(prompt, padding="max_length", max_length=most, truncation=True).input_ids
    )


class Family(Protocol):
    """What the rest of composer asks of a family."""

    @property
    def pipe(self) -> Any:
        """The diffusers pipeline that holds the components, shared between runs."""

    @property
    def settings(self) -> FamilySettings:
        """Those of the run."""

    @property
    def predictor(self) -> str:
        """The denoiser's name among the components."""

    @property
    def device(self) -> torch.device:
        """Where the models compute."""

    @property
    def dtype(self) -> torch.dtype:
        """What the models compute in."""

    @property
    def factor(self) -> int:
        """Pixels to a latent, along one side."""

    @property
    def takes_guidance_scale(self) -> bool:
        """Whether the model takes the guidance scale as an input."""

    @property
    def takes_mask(self) -> bool:
        """Whether the model takes `step.mask` and `step.masked_latents` as inputs, as inpainting models do."""

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The models by component name."""

    @property
    def denoiser(self) -> nn.Module:
        """The one that predicts."""

    def tokens(self, prompt: str) -> list[str]:
        """A prompt's tokens, one for each position of the embedding's `hidden`."""

    @property
    def reader(self) -> tuple[Any, int] | None:
        """The tokenizer of the encoder that reads furthest, and how many tokens that is."""

    @staticmethod
    def set_timesteps(scheduler: Any, request: Request, factor: int, device: torch.device | str) -> None:
        """Lay out a fresh scheduler's steps for the request; needs no weights, so that they can be shown beforehand."""

    def encode(self, request: Request, contrast: bool) -> Conditioning:
        """Prompts → embeddings; the negative ones only when `contrast`."""

    def encode_image(self, pixels: Tensor, generators: tuple[torch.Generator, ...]) -> Tensor:
        """Pixels (B, 3, H, W) in −1 … 1 → clean latents in the model's packing; generator i generates image i's sample."""

    def scale_mask(self, mask: Tensor) -> Tensor:
        """Mask (B, 1, H, W) of 0 and 1 → the same in a shape that broadcasts with the latents."""

    def depth(self, images: Sequence[Image], maps: Sequence[np.ndarray] | None) -> Tensor:
        """Depth maps (H, W), larger is nearer, or the model's estimate from the images → (B, 1, h, w) in −1 … 1."""

    def start_noise(self, request: Request, generators: tuple[torch.Generator, ...]) -> Tensor:
        """Standard normal latents in the model's packing, image i from generator i."""

    def predict(self, step: Step) -> Branches:
        """What the model says of `step.model_input`, for each branch there is conditioning for."""

    def decode(self, latents: Tensor, request: Request) -> Decoded:
        """Latents → RGB images of the request's size, and what was found on the way; keeps nothing."""
