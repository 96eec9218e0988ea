"""``accel=[fused_qkv]``: query, key and value of attention computed by one matrix product.

See https://huggingface.co/docs/diffusers/optimization/fp16.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import diffusers
import torch
from torch import nn

from composer.options.accel.hooking import PROGRAMS, Acceleration, denoisers_of
from composer.options.base import OptionContext

#: What diffusers adds to an attention layer, and the projections that it is made of.
ADDED = {
    "to_qkv": ("to_q", "to_k", "to_v"),
    "to_kv": ("to_k", "to_v"),
    "to_added_qkv": ("add_q_proj", "add_k_proj", "add_v_proj"),
}


class FusedQKV(Acceleration):
    """Fuse the projections of attention.

    Args:
        of: ``denoiser``, ``vae``, or ``all`` for both.
    """

    name = "fused_qkv"
    supports_quantised = False
    excludes = (PROGRAMS - {"accel.compile"}) | {
        "memory.attention_slicing", "memory.xformers", "memory.sequential_offload", "memory.group_offload",
    }  # fmt: skip

    def __init__(self, of: Literal["all", "denoiser", "vae"] = "all") -> None:
        self.of = of

    def check(self, context: OptionContext) -> None:
        super().check(context)
        checkpoint = context.checked.checkpoint
        info = checkpoint.family_info
        if self.of == "vae" and "vae" not in checkpoint.classes:
            self.refuse_no_effect("the model has no vae, so it would do nothing")
        if self.of != "vae" and not info.supports.fused_qkv:
            self.refuse_no_effect(f"diffusers can't fuse a {info.denoiser[1]}, so it would do nothing")
        chosen = {"all": (info.denoiser[0], "vae"), "denoiser": (info.denoiser[0],), "vae": ("vae",)}[self.of]
        for cls in (checkpoint.classes.get(name, "") for name in chosen):
            model = getattr(diffusers, cls, None)
            if model is not None and not hasattr(model, "fuse_qkv_projections"):
                self.refuse_no_effect(f"diffusers can't fuse a {cls}, so it would do nothing")
        left_out = [key for key in info.supports.unfused_settings if checkpoint.denoiser.get(key)]
        if self.of != "vae" and left_out:
            omitted = f"diffusers leaves out this model's {' and '.join(left_out)} where it fuses"
            self.refuse(f"{omitted}: accel.fused_qkv.of=vae is left")

    @contextmanager
    def attach(self, pipe: Any, device: torch.device) -> Iterator[None]:
        models = [
            *(denoisers_of(pipe) if self.of != "vae" else []),
            *([pipe.components.get("vae")] if self.of != "denoiser" else []),
        ]
        with ExitStack() as stack:
            for model in filter(None, models):
                if not hasattr(model, "fuse_qkv_projections"):
                    self.refuse_no_effect(f"diffusers can't fuse a {type(model).__name__}, so it would do nothing")
                stack.enter_context(fused(model))
            yield


@contextmanager
def fused(model: Any) -> Iterator[None]:
    """Fuse the projections of a model; they are separated when the context exits.

    Args:
        model: The model.
    """
    processors, had = dict(model.attn_processors), {layer: set(vars(layer)) for layer in model.modules()}
    model.fuse_qkv_projections()
    try:
        for layer in model.modules():
            _link_separate_weights(layer)
        yield
    finally:
        model.set_attn_processor(processors)
        for layer in model.modules():
            _split(layer)
        for layer, names in had.items():
            for name in {"fused_projections", "original_attn_processors"} & set(vars(layer)) - names:
                delattr(layer, name)


@torch.no_grad()
def _link_separate_weights(layer: nn.Module) -> None:
    """Make the separate projections views of the fused one, so that no weight is stored twice."""
    for name, parts in ADDED.items():
        fused_layer = getattr(layer, name, None)
        if isinstance(fused_layer, nn.Linear):
            for kind in ("weight", "bias"):
                separate = [getattr(getattr(layer, part), kind) for part in parts]
                if getattr(fused_layer, kind) is not None and all(weight is not None for weight in separate):
                    for weight, rows in zip(
                        separate, getattr(fused_layer, kind).data.split([len(weight) for weight in separate])
                    ):
                        weight.data = rows


@torch.no_grad()
def _split(layer: Any) -> None:
    """Copy the separate projections and remove the fused ones."""
    for name, parts in ADDED.items():
        if isinstance(getattr(layer, name, None), nn.Linear):
            for part in parts:
                for weight in getattr(layer, part).parameters(recurse=False):
                    weight.data = weight.data.clone()
            delattr(layer, name)
            layer.fused_projections = False
