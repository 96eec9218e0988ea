"""``accel=[deepcache]``: most steps reuse the output of a UNet's deep layers, which changes slowly.

The first two steps and every ``interval``-th step are computed completely; in the others only the outermost layers
run. See https://arxiv.org/abs/2312.00858.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from composer.checkpoints.layouts import Supports
from composer.errors import ComposerError
from composer.options.accel.hooking import PROGRAMS, Acceleration, Forwards, denoiser_of, patched_forward
from composer.options.base import OptionContext
from composer.system.constraints import Ge

#: Blocks whose layers are known: those of Stable Diffusion, SDXL and DDPM.
BLOCKS = frozenset(f"{kind}{way}Block2D" for kind in ("", "Attn", "CrossAttn") for way in ("Down", "Up"))
#: Steps at the start that are computed in full: there the deep layers' findings change most.
FIRST = 2
#: Cosine between a forward's input and an earlier one's, below which they are not of the same image.
NEAR = 0.5


class DeepCache(Acceleration):
    """Reuse the output of a UNet's deep layers between steps.

    Args:
        interval: Every ``interval``-th step is computed completely, >= 2.
        layers: Number of last layers on the way up that run in each step, >= 1.
    """

    name = "deepcache"
    excludes = PROGRAMS

    def __init__(self, interval: Annotated[int, Ge(1)] = 3, layers: Annotated[int, Ge(1)] = 1) -> None:
        self.interval, self.layers = interval, layers

    def supported(self, supports: Supports) -> bool:
        """Whether the option supports the denoiser of a family.

        Args:
            supports: What the family supports.
        """
        return supports.deepcache

    def check(self, context: OptionContext) -> None:
        super().check(context)
        checkpoint, request = context.checked.checkpoint, context.checked.request
        if self.interval == 1:
            raise ComposerError(
                "accel.deepcache.interval", 1, "computes every step in full, so it would do nothing: take 2 or more"
            )
        steps = request.steps - request.steps_skipped
        if steps <= FIRST:
            self.refuse_no_effect(f"computes the first {FIRST} steps in full, so it would do nothing for {steps}")
        kinds = (*checkpoint.denoiser.get("down_block_types", ()), *checkpoint.denoiser.get("up_block_types", ()))
        unknown = sorted(set(kinds) - BLOCKS)
        if unknown:
            self.refuse(f"can't reach into a {unknown[0]}", sorted(BLOCKS))

    @contextmanager
    def active(self, pipe: Any) -> Iterator[None]:
        unet, features = denoiser_of(pipe), Features(self.interval)
        with ExitStack() as stack:
            for number, module in enumerate(deep(unet, self.layers)):
                stack.enter_context(patched_forward(module, partial(features.kept, number)))
            stack.enter_context(patched_forward(unet, features.around))
            yield


@dataclass
class Kept:
    """What the deep layers returned in one forward. step: when; sample: its input."""

    step: int
    sample: Tensor
    outputs: dict[int, Any]

    def near(self, sample: Tensor) -> bool:
        return torch.cosine_similarity(sample.flatten().float(), self.sample.flatten().float(), 0).item() >= NEAR


class Features:
    """Outputs of the deep layers in one run, for each kind of forward."""

    def __init__(self, interval: int) -> None:
        self.interval, self.forwards = interval, Forwards()
        self.earlier: dict[Any, Kept] = {}
        self.full = True
        self.outputs: dict[int, Any] = {}

    def around(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap the UNet's forward, so that it is computed completely or reuses outputs.

        Args:
            forward: The UNet's forward.
        """

        def run(
            sample: Tensor, timestep: Any, encoder_hidden_states: Tensor | None = None, *args: Any, **settings: Any
        ) -> Any:
            key = self.forwards.count(sample, timestep, encoder_hidden_states)
            kept, step = self.earlier.get(key), self.forwards.step
            if kept is None or step < FIRST or step - kept.step >= self.interval or not kept.near(sample):
                self.full, self.outputs = True, {}
            else:
                self.full, self.outputs = False, kept.outputs
            text = () if encoder_hidden_states is None else (encoder_hidden_states,)
            done = forward(sample, timestep, *text, *args, **settings)
            if self.full:
                self.earlier[key] = Kept(step, sample, self.outputs)
            return done

        return run

    def kept(self, number: int, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a deep layer's forward, so that it returns cached outputs.

        Args:
            number: Index of the layer.
            forward: The layer's forward.
        """

        def run(*args: Any, **settings: Any) -> Any:
            if self.full:
                self.outputs[number] = forward(*args, **settings)
            return self.outputs[number]

        return run


def deep(unet: Any, layers: int) -> list[nn.Module]:
    """List the layers that need not run in each step; blocks of which no layer must run appear as one.

    Args:
        unet: The UNet.
        layers: Number of last layers on the way up that run in each step.

    Raises:
        ComposerError: All layers must run.
    """
    down = [_layers(block, block.downsamplers or ()) for block in unet.down_blocks]
    up = [_layers(block) for block in unet.up_blocks]
    most = sum(map(len, up)) - 1
    if layers > most:
        raise ComposerError(
            "accel.deepcache.layers", layers, f"leaves nothing to take from earlier steps: this UNet has {most} at most"
        )
    # The last layer on the way up takes the first convolution's output, the one before it the first layer's on the
    # way down, …
    return [
        *_without(unet.down_blocks, down, layers - 1),
        *([unet.mid_block] if unet.mid_block is not None else []),
        *_without(list(unet.up_blocks)[::-1], [[*block[::-1]] for block in up[::-1]], layers),
    ]


def _layers(block: Any, more: Any = ()) -> list[tuple[nn.Module, ...]]:
    """List a block's layers in order: residual blocks with their attention, then those that change the size."""
    attentions = getattr(block, "attentions", None) or [None] * len(block.resnets)
    layers = [tuple(layer for layer in pair if layer is not None) for pair in zip(block.resnets, attentions)]
    return [*layers, *((layer,) for layer in more)]


def _without(blocks: Any, layers: list[list[tuple[nn.Module, ...]]], count: int) -> list[nn.Module]:
    """All but the first `count` layers."""
    replaced: list[nn.Module] = []
    for block, inner in zip(blocks, layers):
        left = inner[count:]
        replaced += [block] if len(left) == len(inner) and inner else [module for layer in left for module in layer]
        count = max(count - len(inner), 0)
    return replaced
