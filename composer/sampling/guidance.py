"""How the predictions of a step become one.

A family makes branches (positive, negative); guidance combines them and knows no model. Which branches are needed it
says
beforehand, so that a negative prompt costs nothing where it is not used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from composer.callbacks.base import Step
from composer.errors import ComposerError
from composer.system.constraints import Fraction, Ge, Validated

if TYPE_CHECKING:
    from torch import Tensor


#: A guidance scale. NaN would switch guidance off without a note.
Scale = Annotated[float, Ge(0)]


@dataclass(frozen=True)
class Branches:
    """Predictions of one step in the latents' shape; negative is None where only the prompt was evaluated."""

    positive: Tensor
    negative: Tensor | None = None


class Guidance(Validated):
    """Combines branches; `scale` and `embedded` are what a step starts with.

    contrast: whether a negative branch is wanted. families: those whose models it fits, None for all that take a
    prompt.
    support: a name that a family's `supports.guiders` must hold, for a guidance that changes the model's layers; None for
    any
    model. batch_safe: each image of a batch comes out as it would alone.
    """

    scale: float = 1.0
    embedded: float = 1.0
    contrast: bool = False
    families: frozenset[str] | None = None
    support: str | None = None
    batch_safe: bool = True

    @classmethod
    def config_key(cls) -> str:
        """Return `guidance`, the config node of the one guidance of a run."""
        return "guidance"

    def for_model(self, takes_guidance_scale: bool) -> Guidance:
        """The guidance to use with a model; embeds_scale says that it takes the scale as an input."""
        return self

    def for_run(self, denoiser: Any) -> Guidance:
        """The guidance of one run with a model; one that keeps state begins anew."""
        return self

    def prediction(self, step: Step, predict: Callable[[Step], Branches]) -> Tensor:
        """What the step comes to. The model is asked here, so that a guidance may ask less, more or otherwise."""
        return self(step, predict(step))

    def __call__(self, step: Step, branches: Branches) -> Tensor:
        return branches.positive


class Unguided(Guidance):
    """The prediction as the model makes it."""


class ClassifierFree(Guidance):
    """negative + scale · (positive − negative), https://arxiv.org/abs/2207.12598.

    rescale: 0–1, how far the result's standard deviation is generated back to the positive's,
    https://arxiv.org/abs/2305.08891.
    """

    def __init__(self, scale: Scale = 7.5, rescale: Annotated[float, Ge(0)] = 0.0, embedded: Scale = 1.0) -> None:
        self.scale, self.rescale, self.embedded = float(scale), float(rescale), float(embedded)

    @property
    def contrast(self) -> bool:
        return self.scale > 1

    def __call__(self, step: Step, branches: Branches) -> Tensor:
        positive, negative = branches.positive, branches.negative
        if negative is None:
            return positive
        guided = negative + step.guidance_scale * (positive - negative)
        return rescaled(guided, positive, self.rescale) if self.rescale > 0 else guided


class Interval(ClassifierFree):
    """Classifier-free guidance in the middle of the denoising alone, where it helps most.
    https://arxiv.org/abs/2404.07724

    first, last: shares of the iterations, 0–1, between which the prompt pulls; outside the negative branch is not
    computed.
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
            raise ComposerError("guidance.last", last, f"must lie between first={self.first:g} and 1")

    def prediction(self, step: Step, predict: Callable[[Step], Branches]) -> Tensor:
        if self.first <= step.index / max(step.total - 1, 1) <= self.last:
            return super().prediction(step, predict)
        return predict(replace(step, conditioning=replace(step.conditioning, negative=None))).positive


class Distilled(Guidance):
    """The scale as an input of the model, which was distilled to follow it."""

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
    """Distilled for a model that takes the scale, classifier-free for others."""

    def __init__(self, scale: Scale = 7.5) -> None:
        self.given = float(scale)

    def for_model(self, takes_guidance_scale: bool) -> Guidance:
        return Distilled(self.given) if takes_guidance_scale else ClassifierFree(self.given)


def rescaled(guided: Tensor, positive: Tensor, amount: float) -> Tensor:
    """Section 3.4 of https://arxiv.org/abs/2305.08891, with the deviations taken over each image."""
    over = list(range(1, positive.ndim))
    matched = guided * (positive.std(dim=over, keepdim=True) / guided.std(dim=over, keepdim=True))
    return amount * matched + (1 - amount) * guided
