"""Embeddings of images beside those of the text: the further input of a denoiser that IP-Adapters are loaded into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

#: Name in `Embedding.extra`, followed by a dot and a number: one tensor for each IP-Adapter.
IMAGE_EMBEDS = "image_embeds"


def split_image_embeds(extra: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Separate the embeddings of images from the other inputs of a denoiser.

    Args:
        extra: Further inputs, with the embeddings under ``image_embeds.0``, ``image_embeds.1``, ….

    Returns:
        The other inputs by name, and the embeddings in their order.
    """
    others = {name: tensor for name, tensor in extra.items() if not name.startswith(f"{IMAGE_EMBEDS}.")}
    return others, [tensor for name, tensor in extra.items() if name not in others]


def joint_attention(images: list[Tensor] | Tensor | None) -> dict[str, Any]:
    """Return the argument by which transformers of diffusers take embeddings of images.

    Args:
        images: One tensor for each IP-Adapter, or one tensor for a transformer that takes one IP-Adapter alone.

    Returns:
        ``joint_attention_kwargs``, or nothing if there are no images. The dict is a new one: a transformer changes it.
    """
    return {"joint_attention_kwargs": {"ip_adapter_image_embeds": images}} if images is not None else {}
