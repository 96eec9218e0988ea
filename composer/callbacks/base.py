"""The callback protocol: what a hook may look at and change, and when.

Latents are in the model's own space and packing (Flux packs them as (B, tokens, channels)); use `Run.decode` and
`Run.denoised` to look at them, and edit them in ways that do not depend on their shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from composer.system.constraints import Validated

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor

    from composer.callbacks.request import Request


class StopDenoising(Exception):
    """Raised in `after_step`: this was the last step; its latents are decoded, or those that it carries."""

    def __init__(self, latents: Tensor | None = None) -> None:
        super().__init__("this was the last step")
        self.latents = latents


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """What a text encoder makes of a batch of prompts.

    hidden: (B, tokens, width). pooled: (B, width) for models that take one. extra: further inputs of the model by name.
    """

    hidden: Tensor
    pooled: Tensor | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """positive: of the prompts. negative: of the negative prompts, None when guidance does not use them."""

    positive: Embedding | None
    negative: Embedding | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One iteration of the denoising loop.

    Args:
        index, total: iteration, from 0, and how many there are; second-order schedulers iterate more often than
        `steps`.
        timestep: the scheduler's, a tensor without dimensions.
        sigma: noise level of `latents` where the scheduler has sigmas, else None.
        latents: x_t, before the step.
        model_input: `latents` as the scheduler scales them for the model; made anew after `before_step`.
        guidance_scale: how strongly the prompt pulls; 1 is not at all.
        embedded_guidance: the scale told to a model that takes one as input.
        mask: where a task repaints, 1, and where not, 0, in a shape that broadcasts with the latents; else None.
        masked_latents: of the image with the masked part grayed out, in the shape of the latents.
        depth: (B, 1, h, w) at the latents' size, −1 far … 1 near.
    """

    index: int
    total: int
    timestep: Tensor
    sigma: float | None
    latents: Tensor
    model_input: Tensor
    conditioning: Conditioning
    guidance_scale: float
    embedded_guidance: float = 1.0
    mask: Tensor | None = None
    masked_latents: Tensor | None = None
    depth: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One call of the loop, the same for all its steps.

    Args:
        timesteps: (total,) of the scheduler.
        generators: one CPU generator for each image.
        scheduler: read it; changing it is undefined.
        decode: latents → images, through the VAE.
        denoised: (step, prediction) → estimate of the clean latents x₀, in the shape of the latents.
        predicted: (step, x₀) → the prediction whose `denoised` is x₀; with it a callback edits the estimate.
        noised: (clean latents, noise, index) → what they look like before iteration `index`.
        encode: (prompts, negative prompts) → conditioning like that of the steps; one text for each image.
        predict: (step) → its guided prediction, between `before_step` and `after_predict`; for a step with other
        conditioning, at
            the cost of one more evaluation of the model.
        latent_mask: a mask (B or 1, 1, H, W) over the pixels, 0–1 → the same in a shape that broadcasts with the
        latents.
        tokens: a prompt → its tokens as the tokenizer writes them, one for each position of `Embedding.hidden`, padding
        included.
        request: prompts, seeds, steps and sizes.
        modules: the models by component (unet or transformer, vae, text_encoder, …). What `around` changes there it
        must put back.
        folder: where files of this run go, and there already; None when nothing is written.
        scratch: () → a folder for temporary files, removed when the run ends.
    """

    timesteps: Tensor
    generators: tuple[torch.Generator, ...]
    scheduler: Any
    decode: Callable[[Tensor], list[Image]]
    denoised: Callable[[Step, Tensor], Tensor]
    predicted: Callable[[Step, Tensor], Tensor]
    noised: Callable[[Tensor, Tensor, int], Tensor]
    encode: Callable[[Sequence[str], Sequence[str | None]], Conditioning]
    predict: Callable[[Step], Tensor]
    latent_mask: Callable[[Tensor], Tensor]
    tokens: Callable[[str], list[str]]
    request: Request
    modules: Mapping[str, torch.nn.Module]
    folder: Path | None
    scratch: Callable[[], Path]


class StepCallback(Validated):
    """Base class of hooks: override the moments you need. Edits are returned; None means that nothing changed.

    needs: what it can't do without: fields of `Step` and `Run` that must have a value, such as {"mask"}, and other
    callbacks that
    must come before it, such as {"callbacks.trace"}. families: those that it works with, None for all. Where the chosen
    checkpoint, task and callbacks can't give that, the run is refused before weights load. batch_safe: each image of a
    batch comes
    out as it would alone, and no files are written; sweeps then run several jobs as one batch.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    families: ClassVar[frozenset[str] | None] = None
    batch_safe: ClassVar[bool] = False

    @classmethod
    def config_key(cls) -> str:
        """Return `callbacks.` and the name of the class in snake case, as composer's own options are called."""
        return "callbacks." + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def around(self, run: Run) -> AbstractContextManager[None]:
        """Own resources from the first step until the images are decoded; left whatever happens."""
        return nullcontext()

    def before_step(self, step: Step) -> Step | None:
        """Change latents, conditioning or guidance with `dataclasses.replace(step, …)`."""

    def after_predict(self, step: Step, prediction: Tensor) -> Tensor | None:
        """Change the guided prediction before the scheduler takes its step."""

    def after_step(self, step: Step, latents: Tensor) -> Tensor | None:
        """Change the new latents x_{t−1}. May raise `StopDenoising`."""

    def after_decode(self, run: Run, images: list[Image]) -> list[Image] | None:
        """Change the finished images."""
