"""A call of a pipeline that owns its loops: the base of those of hosted pipelines and of blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from math import isfinite
from typing import Any, Protocol

import torch
from torch import Tensor

from composer.callbacks.base import Step
from composer.errors import ComposerError
from composer.media.medium import Medium
from composer.pipelines.hosted.findings import Findings
from composer.pipelines.hosted.stage import Stage
from composer.sampling.sampler import Sampler


class LoopView(Protocol):
    """The loop as far as estimates need it.

    Attributes:
        stage: The present loop; None before the first.
        findings: What was learnt of the pipeline.
    """

    stage: Stage | None
    findings: Findings


class Call(ABC):
    """A call of a pipeline, and what callbacks can ask of it.

    Attributes:
        pipe: The run's own pipeline.
        fps: Frames a second of clips; None for the default.
    """

    pipe: Any
    fps: float | None

    @property
    @abstractmethod
    def view(self) -> LoopView:
        """The loop."""

    @abstractmethod
    def listening(self) -> AbstractContextManager[None]:
        """Follow the calls of the pipeline's models, for the call itself and for decoding."""

    @abstractmethod
    def run(self) -> Any:
        """Call the pipeline.

        Returns:
            Its output, as `decoded_of` takes it.

        Raises:
            ComposerError: It failed, or a callback changed what can't be changed.
        """

    @abstractmethod
    def decode(self, latents: Tensor) -> list[Medium]:
        """Decode latents of the present loop.

        Args:
            latents: Latents x₀, in the shape of the loop's latents.

        Returns:
            What the pipeline would return for them: images, clips or sounds.
        """

    def denoised(self, step: Step, prediction: Tensor) -> Tensor:
        """Estimate the clean latents of a step; see `Sampler.denoised`.

        Args:
            step: The step.
            prediction: Its prediction; a learned variance in its second half is ignored.
        """
        return self._sampler(step).denoised(step, _split(step, prediction)[0])

    def predicted(self, step: Step, clean: Tensor) -> Tensor:
        """Invert `denoised`; see `Sampler.predicted`.

        Args:
            step: The step.
            clean: Clean latents x₀.
        """
        prediction = self._sampler(step).predicted(step, clean)
        stage = self.view.stage
        if stage is None or stage.prediction is None:
            return prediction
        return torch.cat([prediction, *_split(step, stage.prediction)[1:]], dim=1)

    def noised(self, clean: Tensor, noise: Tensor, index: int) -> Tensor:
        """Add noise to clean latents; see `Sampler.noised`.

        Args:
            clean: Clean latents x₀.
            noise: Standard normal noise.
            index: Iteration of the present loop.
        """
        return self._sampler(None).noised(clean, noise, index)

    def _sampler(self, step: Step | None) -> Sampler:
        stage, name = self.view.stage, self.view.findings.pipeline
        if stage is None or stage.sampler is None:
            raise ComposerError("callbacks", None, f"the loop of {name} has not begun, so there is no noise level")
        if stage.sampler.first < 0 or (step is not None and not isfinite(step.sigma)):
            scheduler = type(stage.scheduler).__name__
            reason = (
                f"{name} steps with {scheduler}, whose noise levels are not known: clean latents can't be estimated"
            )
            raise ComposerError("callbacks", None, reason)
        return stage.sampler


def _split(step: Step, prediction: Tensor) -> Sequence[Tensor]:
    """A prediction, and the learned variance in the second half of its channels, if there is one."""
    if prediction.ndim > 1 and prediction.shape[1] == 2 * step.latents.shape[1]:
        return prediction.chunk(2, dim=1)
    return (prediction,)
