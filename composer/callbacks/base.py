"""The callback protocol: which hooks a callback has, and what each of them may read and change.

Latents are in the model's own space and packing. For a UNet or SD3 that is `(B, C, H/8, W/8)`; Flux packs them as
`(B, tokens, channels)`. Use `Run.decode` and `Run.denoised` to look at them, and edit them in ways that do not depend
on their shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from composer.system.constraints import Validated

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from composer.callbacks.request import Request
    from composer.media.medium import Medium


class StopDenoising(Exception):
    """Signal from `StepCallback.after_step` that the current step is the last one.

    Args:
        latents: Latents to decode, of the shape and dtype of the step's. `None` decodes those of the current step.

    Attributes:
        latents: The same.
    """

    def __init__(self, latents: Tensor | None = None) -> None:
        super().__init__("this was the last step")
        self.latents = latents


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """Output of the text encoders for a batch of prompts.

    Attributes:
        hidden: Hidden states, `(B, tokens, width)`, in the denoiser's dtype.
        pooled: Pooled output, `(B, width)`, for models that take one; else `None`.
        mask: `(B, tokens)`, true where a token counts and false for padding; `None` where the model reads all of them.
        extra: Further inputs of the denoiser, by parameter name.
    """

    hidden: Tensor
    pooled: Tensor | None = None
    mask: Tensor | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """Embeddings that a step is conditioned on.

    Attributes:
        positive: Of the prompts; `None` for unconditional models.
        negative: Of the negative prompts; `None` if guidance does not use them.
    """

    positive: Embedding | None
    negative: Embedding | None = None

    def require_positive(self) -> Embedding:
        """Get the embeddings of the prompts.

        Returns:
            `positive`.

        Raises:
            ValueError: The model takes no text.
        """
        if self.positive is None:
            raise ValueError("this model takes no text, so there is no conditioning")
        return self.positive

    def require_negative(self) -> Embedding:
        """Get the embeddings of the negative prompts.

        Returns:
            `negative`.

        Raises:
            ValueError: Guidance does not use the negative prompts.
        """
        if self.negative is None:
            raise ValueError("guidance does not use the negative prompts, so they have no conditioning")
        return self.negative


@dataclass(frozen=True, kw_only=True)
class Step:
    """One iteration of the denoising loop.

    Attributes:
        index: Iteration, from 0.
        total: Number of iterations. Second-order schedulers iterate more often than `Request.steps`.
        timestep: Timestep of the scheduler, a tensor of shape `()`.
        sigma: Noise level of `latents`: noise per signal σ/α, or σ in `[0, 1]` for flow matching; NaN where it is not
            known.
        latents: x_t, before the step.
        model_input: `latents` as the scheduler scales them for the model. Computed again after `before_step`.
        conditioning: Embeddings of the prompts.
        guidance_scale: Weight of the prompt in classifier-free guidance; 1 turns guidance off.
        embedded_guidance: Guidance scale that guidance-distilled models take as an input.
        canvas: Size of the result in pixels, `(height, width)`, or `(frames, height, width)` of a video; packed latents
            do not show it.
        inputs: What the task gives the model beside latents and conditioning, by name, such as `mask`.
        stage: Loop that the step belongs to, from 0. Only hosted pipelines have several, such as a prior before a
            decoder; `index` counts from 0 in each.
    """

    index: int
    total: int
    timestep: Tensor
    sigma: float
    latents: Tensor
    model_input: Tensor
    conditioning: Conditioning
    guidance_scale: float
    embedded_guidance: float = 1.0
    stage: int = 0
    canvas: tuple[int, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def mask(self) -> Tensor | None:
        """1 where a task repaints and 0 elsewhere, in a shape that broadcasts with the latents; `None` without a
        mask.
        """
        return self.inputs.get("mask")

    @property
    def masked_latents(self) -> Tensor | None:
        """Latents of the image with the masked part grayed out, in the shape of `latents`; else `None`."""
        return self.inputs.get("masked_latents")

    @property
    def depth(self) -> Tensor | None:
        """Depth map at the latents' size, `(B, 1, h, w)` in `[-1, 1]`, where 1 is near; else `None`."""
        return self.inputs.get("depth")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One pass through the denoising loop, the same object for all of its steps.

    Attributes:
        timesteps: Timesteps of the scheduler, `(total,)`.
        generators: One CPU generator an image.
        scheduler: The scheduler, for reading only; changing it is undefined.
        decode: `(latents)` → one RGB image a row through the VAE, or one clip or sound where the run makes these.
        denoised: `(step, prediction)` → predicted clean latents x₀, in the shape of the latents.
        predicted: `(step, x₀)` → the prediction whose `denoised` is x₀. Use it to edit x₀.
        noised: `(clean latents, noise, index)` → the latents as they are before iteration `index`.
        encode: `(prompts, negative prompts)` → conditioning like that of the steps; one text an image.
        predict: `(step)` → the guided prediction, as between `before_step` and `after_predict`. Each call evaluates the
            denoiser once more.
        latent_mask: `(mask)` → the mask in a shape that broadcasts with the latents. Takes pixels, `(B or 1, 1, H, W)`
            in `[0, 1]`.
        tokens: `(prompt)` → its tokens as the tokenizer writes them, one for each position of `Embedding.hidden`,
            including padding.
        request: Prompts, seeds, steps and sizes.
        modules: Models by component, such as `unet`, `transformer`, `vae` and `text_encoder`. A callback that changes
            one in `around` must undo the change there.
        folder: Existing directory that receives the files of the run; `None` if nothing is written.
        scratch: `()` → a directory for temporary files, removed when the run ends.
    """

    timesteps: Tensor
    generators: tuple[torch.Generator, ...]
    scheduler: Any
    decode: Callable[[Tensor], list[Medium]]
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
    """Base class of callbacks: override the hooks that are needed.

    Hooks return what they change, and `None` for no change. They never write into a tensor that they receive.

    Attributes:
        needs: Requirements of the callback: fields of `Step` and `Run` that must have a value, such as `{"mask"}`, and
            callbacks that must come before it, such as `{"callbacks.trace"}`. A run that does not meet them is refused
            before weights are loaded.
        families: Model families that the callback supports; `None` for all.
        media: Kinds of media that the callback can work on: `image`, `clip`, `sound`. Latents of clips have a further
            axis for frames, and `after_decode` receives clips. A run that makes another kind is refused before weights
            are loaded.
        batch_safe: Whether each image of a batch is the same as when generated alone, and no files are written. Sweeps
            then run several jobs as one batch.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    families: ClassVar[frozenset[str] | None] = None
    media: ClassVar[frozenset[str]] = frozenset({"image"})
    batch_safe: ClassVar[bool] = False

    _run: Run | None = None

    @classmethod
    def config_key(cls) -> str:
        """Return `callbacks.` and the name of the class in snake case, as composer's own options are called."""
        return "callbacks." + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    @property
    def run(self) -> Run:
        """The current run, from before `around` until the images are decoded.

        Raises:
            RuntimeError: No run is in progress.
        """
        if self._run is None:
            raise RuntimeError(f"{type(self).__name__}.run exists during a run only")
        return self._run

    @run.setter
    def run(self, run: Run | None) -> None:  # for callbacks that keep their run themselves
        self._run = run

    def around(self, run: Run) -> AbstractContextManager[None]:
        """Hold resources from the first step until the images are decoded.

        Args:
            run: The run that begins.

        Returns:
            A context manager. It is exited after failures too.
        """
        return nullcontext()

    def before_step(self, step: Step) -> Step | None:
        """Change latents, conditioning or guidance of a step.

        Args:
            step: The step, before the model is evaluated.

        Returns:
            `dataclasses.replace(step, …)`, or `None` for no change.
        """

    def after_predict(self, step: Step, prediction: Tensor) -> Tensor | None:
        """Change the guided prediction before the scheduler takes its step.

        Args:
            step: The step, as all callbacks' `before_step` left it.
            prediction: Guided prediction, in the shape and dtype of the latents.

        Returns:
            A finite tensor of the same shape, dtype and device, or `None` for no change.
        """

    def after_step(self, step: Step, latents: Tensor) -> Tensor | None:
        """Change the latents after the scheduler's step.

        Args:
            step: The step.
            latents: x_{t−1}.

        Returns:
            A finite tensor of the same shape, dtype and device, or `None` for no change.

        Raises:
            StopDenoising: This was the last step.
        """

    def after_decode(self, run: Run, images: list[Any]) -> list[Any] | None:
        """Change the finished images, clips or sounds.

        Args:
            run: The run that ends.
            images: One RGB image of PIL's for each seed; one `Clip` or `Sound` where the run makes these, which `media`
                must allow.

        Returns:
            As many of the same kind, or `None` for no change.
        """


@contextmanager
def bound_to(callback: StepCallback, run: Run) -> Iterator[None]:
    """Let `callback.run` be a run inside the context.

    Args:
        callback: The callback.
        run: Its run.
    """
    before = callback._run
    object.__setattr__(callback, "_run", run)  # also of a frozen dataclass
    try:
        yield
    finally:
        object.__setattr__(callback, "_run", before)
