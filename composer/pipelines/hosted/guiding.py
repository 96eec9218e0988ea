"""Another scale or another guidance in place of a pipeline's own, from the outputs of its denoiser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from composer.callbacks.base import Conditioning, Embedding, Step
from composer.errors import ComposerError
from composer.pipelines.hosted.rules import Match, identify
from composer.sampling.guidance import Branches, ClassifierFree, Guidance, Interval, rescaled

#: Conditioning of all steps: the pipeline keeps its embeddings to itself.
NO_CONDITIONING = Conditioning(positive=None)


class StageGuidance:
    """The guidance of one loop of a pipeline.

    Args:
        pipeline: Class with the loop, for messages.
        guidance: Guidance that composer applies; None if the pipeline guides itself.
        scales: Scales that the pipeline may use, the one of the request first.
        rescale: Amount of rescaling in the pipeline's arguments, in `[0, 1]`.
        notes: Receives notes for the user.
        arguments: Arguments that the pipeline's call takes.

    Attributes:
        scale: Guidance scale of a step that no callback changes.
    """

    def __init__(
        self, pipeline: str, guidance: Guidance | None, scales: Sequence[float], rescale: float, notes: list[str],
        arguments: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        self.pipeline, self.guidance, self.scales, self.rescale = pipeline, guidance, scales, rescale
        self.notes, self.arguments = notes, arguments
        self.scale = scales[0]
        self.matches: list[Match] | None = None

    @property
    def rule(self) -> str | None:
        """Name of the rule; None if it is not known."""
        return self.matches[0].name if self.matches else None

    def learn(self, outputs: Sequence[tuple[str, Any]], prediction: Tensor) -> None:
        """Identify the rule at the first step; at later ones drop rules that fit no more, where several did.

        Args:
            outputs: Component and output of each evaluation of the step.
            prediction: The pipeline's prediction.
        """
        if self.matches is None:
            self.matches = identify(outputs, prediction, self.scales, self.rescale, self.arguments)
        elif len(self.matches) > 1:  # both branches may be equal at a step
            holding = [match for match in self.matches if match.holds(outputs, prediction, self.scales)]
            self.matches = holding or self.matches
        guided = [match for match in self.matches if match.rule is not None]
        if guided and self.guidance is None:
            self.scale = guided[0].scale

    def prediction(
        self, step: Step, scale: float, outputs: Sequence[tuple[str, Any]], prediction: Tensor
    ) -> Tensor:  # fmt: skip
        """Compute the prediction of a step with the guidance of composer or of a callback.

        Args:
            step: The step, as all callbacks' `before_step` left it.
            scale: Its guidance scale before callbacks.
            outputs: Component and output of each evaluation of the step.
            prediction: The pipeline's prediction.

        Returns:
            The guided prediction, in the shape and dtype of `prediction`; the same tensor if nothing is changed.

        Raises:
            ComposerError: The scale or the guidance can't be changed here.
        """
        self.check_conditioning(step)
        if self.guidance is None and step.guidance_scale == scale:
            return prediction
        usable = self._usable(step, outputs, prediction)
        guided = [self._guided(step, match, branches) for match, branches in usable]
        if any(not torch.equal(guided[0], other) for other in guided[1:]):
            raise self._refusal(step, "several rules of guidance give its prediction")
        return guided[0].to(prediction.dtype)

    def check_conditioning(self, step: Step) -> None:
        """Refuse a conditioning of a callback's own.

        Args:
            step: The step, as all callbacks' `before_step` left it.

        Raises:
            ComposerError: A callback set embeddings.
        """
        if step.conditioning.positive is not None or step.conditioning.negative is not None:
            reason = f"a callback changed the conditioning, and {self.pipeline} keeps its embeddings to itself"
            raise ComposerError("callbacks", None, reason)

    def _usable(
        self, step: Step, outputs: Sequence[tuple[str, Any]], prediction: Tensor
    ) -> list[tuple[Match, Branches]]:  # fmt: skip
        """Get the ways that still give the pipeline's prediction, with the branches of this step."""
        matches = self.matches or []
        if matches and all(match.rule is None for match in matches):
            raise self._refusal(step, "it evaluates one branch alone, with nothing to guide")
        if not matches:
            raise self._refusal(step, "how it guides is not known")
        holding = [match for match in matches if match.holds(outputs, prediction, self.scales)]
        usable = [(match, branches) for match in holding if (branches := match.branches(outputs, prediction))]
        if not usable:
            raise self._refusal(step, f"it does not guide by the same rule at step {step.index + 1}/{step.total}")
        return usable

    def _guided(self, step: Step, match: Match, branches: Branches) -> Tensor:
        guidance = self.guidance
        if step.guidance_scale == 1 or (isinstance(guidance, Interval) and not guidance.guides(step)):
            self._note_no_saving(step)
            return branches.positive
        if guidance is None:
            return match.guided(branches, step.guidance_scale, match.rescale)
        if isinstance(guidance, ClassifierFree) and type(guidance).__call__ is ClassifierFree.__call__:
            guided = match.guided(branches, step.guidance_scale)
            return rescaled(guided, branches.positive, guidance.rescale) if guidance.rescale > 0 else guided
        assert match.rule is not None
        same = replace(step, guidance_scale=step.guidance_scale + match.rule.offset)
        return match.on_guided_channels(branches, lambda a, b: self._combine(guidance, same, a, b))

    def _combine(self, guidance: Guidance, step: Step, positive: Tensor, negative: Tensor) -> Tensor:
        """Let a guidance combine two branches that are evaluated already; it may request them one by one."""
        first, second = Embedding(hidden=positive), Embedding(hidden=negative)

        def predict(request: Step) -> Branches:
            of = {id(first): positive, id(second): negative}
            known = [
                None if embedding is None else of.get(id(embedding))
                for embedding in (request.conditioning.positive, request.conditioning.negative)
            ]
            if known[0] is None or request.latents is not step.latents:
                raise self._refusal(step, f"{type(guidance).__name__} evaluates the model itself, which it can't here")
            return Branches(known[0], known[1])

        return guidance.prediction(replace(step, conditioning=Conditioning(positive=first, negative=second)), predict)

    def _note_no_saving(self, step: Step) -> None:
        note = f"{self.pipeline} evaluates both branches at every step, so steps without guidance save no time"
        if note not in self.notes:
            self.notes.append(note)

    def _refusal(self, step: Step, why: str) -> ComposerError:
        key, value = ("guidance", type(self.guidance).__name__) if self.guidance else ("callbacks", None)
        what = (
            "its guidance can't be replaced"
            if self.guidance
            else f"its scale can't be changed to {step.guidance_scale:g}"
        )
        return ComposerError(key, value, f"{self.pipeline}: {why}, so {what}")
