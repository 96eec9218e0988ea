"""The state of one loop of a pipeline, and the steps that callbacks see of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Any

import torch
from torch import Tensor

from composer.callbacks.base import Step
from composer.pipelines.hosted.findings import StageFindings
from composer.pipelines.hosted.guiding import NO_CONDITIONING, StageGuidance
from composer.sampling.sampler import Sampler

#: Local variables in which pipelines keep their latents, in the order in which they are tried.
LATENTS = ("latents", "image", "sample", "pred_latent", "audio", "latent")


@dataclass
class Stage:
    """One loop.

    Attributes:
        pipe: The pipeline with the loop.
        number: Index of the loop in its call.
        findings: What is learnt of it.
        guidance: Its guidance.
        watch: Tests prediction and latents after each step.
        timesteps: Those that the loop iterates over, `(iterations,)`; None until they are known.
        begun: The latents that the loop begins with, as its frame shows them; None if it shows none.
        aliases: Other local variables in the same storage, which a change of `begun` would reach.
        by_callback: Whether the loop calls back after each step.
        scheduler: The scheduler that steps; None until it is known.
        sampler: That scheduler under composer's signature.
        index: Present iteration.
        step: The step whose `before_step` was called; None until then.
        scale: Guidance scale of `step` before callbacks.
        edited: Whether `before_step` changed the first latents.
        outputs: Component and output of each evaluation since the last step.
        evaluations: Number of evaluations of each component since the last step.
        awaits_callback: Whether the scheduler has stepped, and the pipeline is about to call back.
        prediction: The last prediction, before `after_predict`.
        stopped: Latents at which a callback stopped the loop.
        last: Latents after the last step.
    """

    pipe: Any
    number: int
    findings: StageFindings
    guidance: StageGuidance
    watch: Callable[[int, Tensor, Tensor], None]
    timesteps: Tensor | None = None
    begun: Tensor | None = None
    aliases: tuple[str, ...] = ()
    by_callback: bool = False
    scheduler: Any = None
    sampler: Sampler | None = None
    index: int = 0
    step: Step | None = None
    scale: float = 1.0
    edited: bool = False
    outputs: list[tuple[str, Any]] = field(default_factory=list)
    evaluations: Counter[str] = field(default_factory=Counter)
    awaits_callback: bool = False
    prediction: Tensor | None = None
    stopped: Tensor | None = None
    last: Tensor | None = None

    @property
    def total(self) -> int:
        """Number of iterations."""
        return 0 if self.timesteps is None else len(self.timesteps)

    @property
    def is_over(self) -> bool:
        """Whether all of its steps are taken."""
        return self.findings.steps > 0 and self.findings.steps >= self.total

    def use(self, scheduler: Any) -> None:
        """Set the scheduler that steps, and find where its schedule the loop begins.

        Args:
            scheduler: The scheduler, with timesteps set.
        """
        self.scheduler, self.sampler = scheduler, Sampler(scheduler, ())
        self.sampler.first = _position(scheduler, self.timesteps)

    def make_step(self, latents: Tensor) -> Step:
        """Describe the present iteration.

        Args:
            latents: Latents x_t, before the step.
        """
        assert self.timesteps is not None
        self.scale = self.guidance.scale
        return Step(
            index=self.index, total=self.total, timestep=self.timesteps[self.index], sigma=self._sigma(),
            latents=latents,
            model_input=latents, conditioning=NO_CONDITIONING, guidance_scale=self.scale, stage=self.number,
        )  # fmt: skip

    def scaled(self, latents: Tensor, timestep: Tensor) -> Tensor:
        """Scale latents as the pipeline scales them for its model; the same latents where the scheduler takes more than
        these.

        Args:
            latents: Latents x_t.
            timestep: Present timestep.
        """
        try:
            return latents if self.sampler is None else self.sampler.scale(latents, timestep)
        except (TypeError, ValueError, IndexError):  # it takes more than this
            return latents

    def _sigma(self) -> float:
        try:
            return float("nan") if self.sampler is None or self.sampler.first < 0 else self.sampler.sigma(self.index)
        except (
            AttributeError,
            TypeError,
            ValueError,
            IndexError,
            RuntimeError,
        ):  # no schedule as other classes have it
            return nan


def latents_in(names: Mapping[str, Any]) -> Tensor | None:
    """Find the latents among the local variables of a loop.

    Args:
        names: The variables.
    """
    return next((names[name] for name in LATENTS if isinstance(names.get(name), Tensor)), None)


def aliases_of(latents: Tensor, names: Mapping[str, Any]) -> tuple[str, ...]:
    """Find variables in the storage of the latents, which SD3's inpainting keeps its noise in, for instance.

    Args:
        latents: The latents.
        names: Local variables of a loop.

    Returns:
        Names of the other variables.
    """
    storage = latents.untyped_storage().data_ptr()
    tensors = {name: value for name, value in names.items() if isinstance(value, Tensor) and name not in LATENTS}
    return tuple(sorted(name for name, value in tensors.items() if value.untyped_storage().data_ptr() == storage))


def timesteps_from(scheduler: Any, timestep: Any) -> Tensor | None:
    """Get the timesteps of a schedule from a given one on.

    Args:
        scheduler: The scheduler, with timesteps set.
        timestep: The first of them.

    Returns:
        `(iterations,)`; None if the scheduler has no such timestep.
    """
    timesteps = getattr(scheduler, "timesteps", None)
    if not isinstance(timesteps, Tensor) or timesteps.ndim != 1:
        return None
    position = (timesteps == torch.as_tensor(timestep, device=timesteps.device).flatten()[0]).nonzero()
    return timesteps[int(position[0]) :] if len(position) else None


def _position(scheduler: Any, timesteps: Tensor | None) -> int:
    """The iteration of the complete schedule that a loop begins at; −1 if its timesteps are no part of it."""
    known = getattr(scheduler, "timesteps", None)
    if timesteps is None or not isinstance(known, Tensor) or known.ndim != 1:
        return -1
    many, part = len(known) - len(timesteps), timesteps.to(known.device)
    starts = sorted(range(many + 1), reverse=True)  # loops that begin late are more frequent than those that end early
    return next((start for start in starts if torch.equal(known[start : start + len(part)], part)), -1)
