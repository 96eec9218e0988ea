"""What a control LoRA changes beside adding to layers: a first layer that reads more channels, and norms.

Both are put in by reference, and the former ones put back. diffusers writes such norms into the weights that it finds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from composer.checkpoints.lora_fit import LoraFit, Widening

#: Norms that a control LoRA may replace.
_NORMS = re.compile(r".+\.norm_(?:added_)?[qk]")


@contextmanager
def widened(pipe: Any, fit: LoraFit, widening: Widening) -> Iterator[None]:
    """Widen the first layer of a transformer, and give it other norms; both are reverted when the context exits.

    Args:
        pipe: The diffusers pipeline.
        fit: The file.
        widening: What it changes beside adding to layers.

    Yields:
        Nothing.
    """
    from safetensors import safe_open

    transformer = pipe.transformer
    layer = transformer.get_submodule(widening.layer)
    norms = {path: module for path, module in transformer.named_modules() if _NORMS.fullmatch(path)}
    replaced = widening.norms or widening.original_norms
    kept = {path: norms[path].weight for path in norms if replaced}
    try:
        setattr(transformer, widening.layer, _wider(layer, widening.channels))
        with safe_open(fit.file.path, "pt") as tensors:
            for path, weight in kept.items():
                key = widening.norms.get(path)
                values = weight.detach().clone() if key is None else tensors.get_tensor(key).to(weight)
                norms[path].weight = nn.Parameter(values, requires_grad=False)
        yield
    finally:
        setattr(transformer, widening.layer, layer)
        for path, weight in kept.items():
            norms[path].weight = weight


def _wider(layer: nn.Linear, channels: int) -> nn.Linear:
    """A layer that reads more channels, which it ignores, with the bias of another one."""
    with torch.device("meta"):
        wider = nn.Linear(channels, layer.out_features, bias=layer.bias is not None)
    weight = layer.weight.new_zeros(layer.out_features, channels)
    weight[:, : layer.in_features] = layer.weight.detach()
    wider.weight, wider.bias = nn.Parameter(weight, requires_grad=False), layer.bias
    return wider.train(layer.training)
