"""The component `guider` of a run's blocks, in place of composer's guidance."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from diffusers.guiders.guider_utils import BaseGuidance

from composer.callbacks.base import Step
from composer.compat.modular import is_enabled
from composer.errors import ComposerError
from composer.sampling.guidance import Distilled, Guidance, Interval, Unguided
from composer.sampling.guiders import BoundGuider, Guider

#: Guiders whose scale is that of the request; others, such as the one for sound, keep their own.
FOLLOWING = ("guider", "guider_2")


class RunGuiders:
    """The guiders of one run.

    Args:
        pipe: The run's own pipeline; its guiders are replaced by copies.
        guidance: Guidance of the run.
        denoiser: The model that predicts.

    Attributes:
        scale: Guidance scale of a step that no callback changes; 1 without guidance.
    """

    def __init__(self, pipe: Any, guidance: Guidance, denoiser: Any) -> None:
        self.pipeline, self.guidance = type(pipe).__name__, guidance
        for name, part in pipe.components.items():
            if isinstance(part, BaseGuidance):
                setattr(pipe, name, deepcopy(part))
        names = [name for name in FOLLOWING if getattr(pipe, name, None) is not None]
        if isinstance(guidance, Guider):
            for name in names:
                setattr(pipe, name, _bound(guidance, denoiser))
        self.guiders = [getattr(pipe, name) for name in names]
        if not isinstance(guidance, (Guider, Distilled)):
            for guider in self.guiders:
                _configure(guider, guidance)
        self.guides = any(is_enabled(guider) and guider.num_conditions > 1 for guider in self.guiders)
        self.scale = float(self.guiders[0].guidance_scale) if self.guides else 1.0

    @property
    def rule(self) -> str | None:
        """Class of the guider; None if no branches are combined."""
        return type(self.guiders[0]).__name__ if self.guides else None

    def begin(self, step: Step) -> None:
        """Set the scale of a step.

        Args:
            step: The step, as all callbacks' `before_step` left it.

        Raises:
            ComposerError: A callback changed its scale, and nothing is guided.
        """
        if not self.guides:
            if step.guidance_scale != self.scale:
                raise self._refusal(step)
            return
        off = isinstance(self.guidance, Interval) and not self.guidance.guides(step)
        for guider in self.guiders:
            guider.guidance_scale = 1.0 if off else step.guidance_scale

    def evaluations(self) -> int:
        """Number of evaluations of the model at the present step."""
        return int(self.guiders[0].num_conditions) if self.guiders else 1

    def _refusal(self, step: Step) -> ComposerError:
        why = "its guider is off, so it has no negative branch" if self.guiders else "it has no guider"
        reason = f"{self.pipeline}: {why}, and its scale can't be changed to {step.guidance_scale:g}"
        return ComposerError("callbacks", None, reason)


def _bound(guidance: Guider, denoiser: Any) -> Any:
    bound = guidance.for_run(denoiser)
    assert isinstance(bound, BoundGuider)
    return bound.guider


def _configure(guider: Any, guidance: Guidance) -> None:
    """Give a guider the settings of composer's guidance."""
    if isinstance(guidance, Unguided):
        guider.disable()
        return
    guider.guidance_scale = guidance.scale
    rescale = getattr(guidance, "rescale", 0.0)
    if rescale:
        guider.guidance_rescale = rescale
    if guidance.scale != 1:
        guider.enable()
