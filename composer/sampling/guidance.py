"""Guidance: how the predictions of a step for prompt and negative prompt become one.

A family computes the branches; guidance combines them and knows no model. It declares beforehand whether it needs the
negative branch, so that a negative prompt costs nothing where it is not used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from composer.callbacks.base import Step
from composer.errors import ComposerError
from composer.system.constraints import Fraction, Ge, Validated

if TYPE_CHECKING:
    from torch import Tensor, nn


#: A guidance scale. NaN would switch guidance off without a note.
Scale = Annotated[float, Ge(0)]


def classifier_free(positive: Tensor, negative: Tensor, scale: float) -> Tensor:
    """Combine two branches by classifier-free guidance. https://arxiv.org/abs/2207.12598

    Args:
        positive: Prediction for the prompts.
        negative: Prediction for the negative prompts, in the same shape.
        scale: Guidance scale; 1 gives `positive`.

    Returns:
        negative + scale · (positive − negative).
    """
    return negative + scale * (positive - negative)


@dataclass(frozen=True)
class Branches:
    """Predictions of one step, each in the shape of the latents.

    Attributes:
        positive: Prediction for the prompts.
        negative: Prediction for the negative prompts; ``None`` if they were not evaluated.
        combine: `(positive, negative, scale)` → the guided prediction; 1 is no guidance. A family passes its own where
            its models need another arithmetic than classifier-free guidance.
    """

    positive: Tensor
    negative: Tensor | None = None
    combine: Callable[[Tensor, Tensor, float], Tensor] = classifier_free


class Guidance(Validated):
    """Combines the branches of a prediction. By itself it is no guidance: the prediction for the prompt.

    Attributes:
        scale: `Step.guidance_scale` of each step, before callbacks; 1 is no guidance.
        embedded: `Step.embedded_guidance` of each step, for a model that takes the scale as an input.
    """

    scale: float = 1.0
    embedded: float = 1.0

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether the negative prompts are needed; they are encoded and evaluated only then."""
        return False

    @property
    def families(self) -> frozenset[str] | None:
        """Families whose models it supports; ``None`` for all that take a prompt."""
        return None

    @property
    def support(self) -> str | None:
        """A name that a family's `supports.guiders` must hold, if it changes layers; ``None`` for any model."""
        return None

    @property
    def batch_safe(self) -> bool:
        """Whether each image of a batch comes out as it would alone."""
        return True

    @classmethod
    def config_key(cls) -> str:
        """Return `guidance`, the config node of the one guidance of a run."""
        return "guidance"

    def for_model(self, takes_guidance_scale: bool) -> Guidance:
        """Choose the guidance for a model.

        Args:
            takes_guidance_scale: Whether the model takes the scale as an input.

        Returns:
            The guidance to use, by default this one.

        Raises:
            ComposerError: It would do nothing with such a model.
        """
        return self

    def for_run(self, denoiser: nn.Module) -> Guidance:
        """Start a run with fresh state.

        Args:
            denoiser: The model that predicts.

        Returns:
            The guidance of one run, by default this one.
        """
        return self

    def prediction(self, step: Step, predict: Callable[[Step], Branches]) -> Tensor:
        """Compute the guided prediction of a step.

        Override it to evaluate the model less or more often, or for other steps.

        Args:
            step: The step to predict for.
            predict: Evaluates the model.

        Returns:
            The prediction, in the shape of the latents.
        """
        return self(step, predict(step))

    def __call__(self, step: Step, branches: Branches) -> Tensor:
        """Combine branches.

        Args:
            step: The step that was predicted for; `guidance_scale` is as callbacks left it.
            branches: Predictions, in the shape of the latents.

        Returns:
            The guided prediction, in the shape of the latents.
        """
        return branches.positive


class Unguided(Guidance):
    """The prediction as the model makes it."""


class ClassifierFree(Guidance):
    """Classifier-free guidance: negative + scale · (positive − negative), or as the family combines its branches.

    Args:
        scale: Guidance scale, >= 0; the negative branch is computed above 1.
        rescale: In `[0, 1]`, how far the standard deviation is pulled back to that of the positive branch, section 3.4
            of https://arxiv.org/abs/2305.08891.
        embedded: Scale for a model that takes one as an input, >= 0.
    """

    def __init__(self, scale: Scale = 7.5, rescale: Annotated[float, Ge(0)] = 0.0, embedded: Scale = 1.0) -> None:
        self.scale, self.rescale, self.embedded = float(scale), float(rescale), float(embedded)

    @property
    def do_classifier_free_guidance(self) -> bool:
        return self.scale > 1

    def __call__(self, step: Step, branches: Branches) -> Tensor:
        positive, negative = branches.positive, branches.negative
        if negative is None:
            return positive
        guided = branches.combine(positive, negative, step.guidance_scale)
        return rescaled(guided, positive, self.rescale) if self.rescale > 0 else guided


class Interval(ClassifierFree):
    """Classifier-free guidance in the middle of denoising only, where it helps most.

    Outside of the interval the negative branch is not computed. https://arxiv.org/abs/2404.07724

    Args:
        scale: Guidance scale, >= 0.
        rescale: As for `ClassifierFree`, in `[0, 1]`.
        embedded: Scale for a model that takes one as an input, >= 0.
        first: Fraction of the iterations at which guidance begins, in `[0, last]`.
        last: Fraction of the iterations after which guidance ends, in `[first, 1]`.
    """

    def __init__(
        self,
        scale: Scale = 7.5,
        rescale: Annotated[float, Ge(0)] = 0.0,
        embedded: Scale = 1.0,
        first: Fraction = 0.2,
        last: Fraction = 0.8,
    ) -> None:
        super().__init__(scale, rescale, embedded)
        self.first, self.last = float(first), float(last)
        if self.first > self.last:
            raise ComposerError("guidance.last", last, f"must be between first={self.first:g} and 1")

    def guides(self, step: Step) -> bool:
        """Whether a step is in the interval.

        Args:
            step: The step, for its index and the number of steps.
        """
        return self.first <= step.index / max(step.total - 1, 1) <= self.last

    def prediction(self, step: Step, predict: Callable[[Step], Branches]) -> Tensor:
        if self.guides(step):
            return super().prediction(step, predict)
        return predict(replace(step, conditioning=replace(step.conditioning, negative=None))).positive


class Distilled(Guidance):
    """The scale as an input of the model, which was distilled to follow it.

    Args:
        scale: Guidance scale that the model gets, >= 0.
    """

    def __init__(self, scale: Scale = 3.5) -> None:
        self.embedded = float(scale)

    def for_model(self, takes_guidance_scale: bool) -> Guidance:
        if not takes_guidance_scale:
            raise ComposerError(
                "guidance",
                "distilled",
                "this model takes no scale as an input, so it would do nothing: use auto or cfg",
            )
        return self


class Auto(Guidance):
    """`Distilled` for a model that takes the scale as an input, `ClassifierFree` for others.

    Args:
        scale: Guidance scale, >= 0.
    """

    def __init__(self, scale: Scale = 7.5) -> None:
        self.given = float(scale)

    def for_model(self, takes_guidance_scale: bool) -> Guidance:
        return Distilled(self.given) if takes_guidance_scale else ClassifierFree(self.given)


def rescaled(guided: Tensor, positive: Tensor, amount: float) -> Tensor:
    """Pull the standard deviation of a guided prediction back, section 3.4 of https://arxiv.org/abs/2305.08891.

    Args:
        guided: Guided prediction `(B, …)`.
        positive: Prediction for the prompts, in the same shape.
        amount: In `[0, 1]`; 0 leaves `guided` as it is.

    Returns:
        The rescaled prediction; deviations are taken over each image.
    """
    dims = list(range(1, positive.ndim))
    matched = guided * (positive.std(dim=dims, keepdim=True) / guided.std(dim=dims, keepdim=True))
    return amount * matched + (1 - amount) * guided
