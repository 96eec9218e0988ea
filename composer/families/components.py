"""Base of families whose components are held by a diffusers pipeline, which is all that composer brings."""

from __future__ import annotations

from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from composer.callbacks.base import Conditioning, Embedding
from composer.callbacks.request import Request
from composer.compat.attributes import execution_device
from composer.families.base import Family
from composer.families.distinct import encode_distinct

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor, nn

#: Dtype of each denoiser, which no model changes; diffusers walks through all layers to find it.
_dtypes: WeakKeyDictionary[nn.Module, torch.dtype] = WeakKeyDictionary()


class DiffusersFamily(Family):
    """Base of families whose components are held by a diffusers pipeline that lends its helpers.

    Attributes:
        shared_inputs: Names in `Embedding.extra` of inputs that have no row for each image.
    """

    shared_inputs: ClassVar[frozenset[str]] = frozenset()

    @property
    def device(self) -> torch.device:
        return self.settings.device or self._execution_device

    @cached_property  # diffusers walks through all modules to find it
    def _execution_device(self) -> torch.device:
        return execution_device(self.pipe)

    @property
    def dtype(self) -> torch.dtype:
        denoiser: Any = self.denoiser  # a ModelMixin of diffusers, which has a dtype
        if denoiser not in _dtypes:
            _dtypes[denoiser] = denoiser.dtype
        return _dtypes[denoiser]

    @property
    def vae_scale_factor(self) -> int:
        return self.pipe.vae_scale_factor

    @property
    def modules(self) -> dict[str, nn.Module]:
        return self._modules

    @cached_property  # read many times a run; diffusers inspects a signature each time
    def _modules(self) -> dict[str, nn.Module]:
        components = self.pipe.components.items()
        return {name: component for name, component in components if hasattr(component, "named_modules")}

    @property
    def denoiser_name(self) -> str:
        return "unet" if "unet" in self.modules else "transformer"

    def encode(self, request: Request, do_classifier_free_guidance: bool) -> Conditioning:
        return encode_distinct(self.encode_batch, request, do_classifier_free_guidance, self.shared_inputs)

    def encode_batch(self, request: Request, do_classifier_free_guidance: bool) -> Conditioning:
        """Encode texts, equal ones several times; `encode` passes it each distinct pair once.

        Args:
            request: Prompts and negative prompts.
            do_classifier_free_guidance: Whether to encode the negative prompts too.

        Returns:
            Embeddings with one row for each text.
        """
        raise NotImplementedError(f"{type(self).__name__} defines neither encode nor encode_batch")

    def embedding(
        self,
        hidden: Tensor,
        pooled: Tensor | None = None,
        extra: Mapping[str, Tensor] = MappingProxyType({}),
        mask: Tensor | None = None,
    ) -> Embedding:
        """Build an embedding in the dtype of the denoiser.

        Args:
            hidden: Hidden states `(B, tokens, width)`.
            pooled: Pooled output `(B, width)`, for models that take one.
            extra: Further inputs of the denoiser by keyword.
            mask: `(B, tokens)`, true where a token counts; ``None`` where all do.

        Returns:
            The embedding; all floating-point tensors but the mask have the dtype of the denoiser.
        """
        return Embedding(
            hidden=hidden.to(self.dtype),
            pooled=None if pooled is None else pooled.to(self.dtype),
            mask=mask,
            extra={
                name: tensor.to(self.dtype) if tensor.is_floating_point() else tensor for name, tensor in extra.items()
            },
        )

    def tokens(self, prompt: str) -> list[str]:
        return token_strings(self.pipe.tokenizer, prompt)

    @property
    def prompt_tokenizer(self) -> tuple[Any, int] | None:
        tokenizers = (getattr(self.pipe, name, None) for name in ("tokenizer", "tokenizer_2"))
        tokenizer: Any = next((tokenizer for tokenizer in tokenizers if tokenizer is not None), None)
        return None if tokenizer is None else (tokenizer, tokenizer.model_max_length)


def token_strings(tokenizer: Any, prompt: str, length: int | None = None) -> list[str]:
    """Tokenize a prompt, truncated or padded to a length as diffusers' pipelines do.

    Args:
        tokenizer: A tokenizer of transformers.
        prompt: One text.
        length: Number of tokens; ``None`` for the tokenizer's maximum.

    Returns:
        `length` tokens as text.
    """
    length = length or tokenizer.model_max_length
    ids = tokenizer(prompt, padding="max_length", max_length=length, truncation=True).input_ids
    return tokenizer.convert_ids_to_tokens(ids)
