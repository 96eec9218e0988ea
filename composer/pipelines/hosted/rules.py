"""How a pipeline makes its prediction of the outputs of its denoiser: found by trying, to the last bit.

Pipelines do not show their guidance. At a step, the outputs of the denoiser are combined by each known rule, and a
rule is the pipeline's if the result equals its own prediction bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from composer.sampling.guidance import Branches, rescaled

#: A combination of the first and the second output with a scale.
Combine = Callable[[Tensor, Tensor, float], Tensor]
#: A change of an output before the combination; also gets the prediction, for its shape and dtype.
Change = Callable[[Tensor, Tensor], Tensor]


def _with_norm(guided: Tensor, positive: Tensor) -> Tensor:
    return guided * (torch.norm(positive, dim=-1, keepdim=True) / torch.norm(guided, dim=-1, keepdim=True))


def _with_norm_at_most(guided: Tensor, positive: Tensor) -> Tensor:
    norm = torch.norm(guided, dim=-1, keepdim=True)
    return guided * (torch.norm(positive, dim=-1, keepdim=True) / (norm + 1e-8)).clamp(min=0.0, max=1.0)


@dataclass(frozen=True)
class Rule:
    """A rule of classifier-free guidance.

    Attributes:
        name: Name in records.
        combine: Combines the first and the second output with a scale.
        positive: Index of the output for the prompts.
        offset: What to add to the scale for the same amount of ``negative + scale · (positive − negative)``.
        argument: Argument that calls of pipelines with this rule have, where its bits can be those of another rule.
    """

    name: str
    combine: Combine
    positive: int = 0
    offset: float = 0.0
    argument: str = ""


#: Rules in diffusers' pipelines, the most frequent first.
RULES = (
    Rule("negative first", lambda a, b, s: a + s * (b - a), positive=1),
    Rule("positive first", lambda a, b, s: b + s * (a - b)),
    Rule("positive first, scale less one", lambda a, b, s: a + s * (a - b), offset=1.0),
    Rule("negative first, scale less one", lambda a, b, s: b + s * (b - a), positive=1, offset=1.0),
    Rule("positive first, norm of the positive", lambda a, b, s: _with_norm(b + s * (a - b), a)),
    Rule("negative first, norm of the positive", lambda a, b, s: _with_norm(a + s * (b - a), b), positive=1),
    Rule(
        "positive first, at most the norm of the positive",
        lambda a, b, s: _with_norm_at_most(b + s * (a - b), a),
        argument="enable_cfg_renorm",
    ),
    Rule("positive first, two products", lambda a, b, s: s * a + (1.0 - s) * b),
    Rule("negative first, two products", lambda a, b, s: s * b + (1.0 - s) * a, positive=1),
    Rule("negative first, scale less one, two products", lambda a, b, s: (s + 1.0) * b - s * a, positive=1, offset=1.0),
)
#: What is done to each output first: nothing, drop the tokens of references or a learned variance, negate.
CHANGES: dict[str, Change] = {
    "": lambda x, like: x,
    "in its dtype": lambda x, like: x.to(like.dtype),
    "first tokens or channels": lambda x, like: x[:, : like.shape[1]],
    "last tokens": lambda x, like: x[:, -like.shape[1] :],
    "negated": lambda x, like: -x.float().reshape(like.shape),
}


@dataclass(frozen=True, eq=False)
class Match:
    """A way to make a pipeline's prediction that gives the same bits.

    Attributes:
        model: Component whose outputs are combined.
        change: Name in `CHANGES`.
        rule: The rule; None for one output that is the prediction.
        scale: Guidance scale of the pipeline.
        rescale: Amount of `rescaled`, in `[0, 1]`.
        variance: Whether the second half of the channels is a learned variance, which is not guided.
    """

    model: str
    change: str
    rule: Rule | None = None
    scale: float = 1.0
    rescale: float = 0.0
    variance: bool = False

    @property
    def name(self) -> str:
        """Description for records and messages."""
        variance = "variance of the positive" if self.variance else ""
        return ", ".join(filter(None, (self.rule.name if self.rule else "one branch", self.change, variance)))

    def holds(self, outputs: Sequence[tuple[str, Any]], prediction: Tensor, scales: Sequence[float]) -> bool:
        """Whether this is the pipeline's way at another step too.

        Args:
            outputs: Component and output of each evaluation of the step.
            prediction: The pipeline's prediction.
            scales: Scales that it may use.
        """
        branches = self.branches(outputs, prediction)
        if branches is None or branches.negative is None:
            return False
        amounts = {self.rescale, 0.0}
        guided = (self.guided(branches, scale, amount) for scale in scales for amount in amounts)
        return any(_equal(candidate, prediction) for candidate in guided)

    def branches(self, outputs: Sequence[tuple[str, Any]], prediction: Tensor) -> Branches | None:
        """Get the predictions for the prompts and the negative prompts, in the shape of the prediction.

        Args:
            outputs: Component and output of each evaluation of the step.
            prediction: The pipeline's prediction.

        Returns:
            The branches; None if the model was evaluated in another way at this step.
        """
        pair = _pair([output for name, output in outputs if name == self.model], len(prediction))
        if len(pair) != (1 if self.rule is None else 2):
            return None
        try:
            changed = [CHANGES[self.change](output, prediction) for output in pair]
        except (IndexError, RuntimeError, ValueError):  # it does not fit the shape
            return None
        if changed[0].shape != prediction.shape:
            return None
        if self.rule is None:
            return Branches(changed[0])
        return Branches(changed[self.rule.positive], changed[1 - self.rule.positive])

    def guided(self, branches: Branches, scale: float, rescale: float = 0.0) -> Tensor:
        """Combine branches as the pipeline does, with any scale.

        Args:
            branches: Both branches, in the shape of the prediction.
            scale: Guidance scale as the pipeline means it.
            rescale: Amount of `rescaled`, in `[0, 1]`.

        Returns:
            The guided prediction.
        """
        if self.rule is None or branches.negative is None:
            return branches.positive
        return self.on_guided_channels(
            branches, lambda positive, negative: self._combined(positive, negative, scale, rescale)
        )

    def on_guided_channels(self, branches: Branches, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Combine the channels that are guided, and append the learned variance of the positive branch, if there is
        one.

        Args:
            branches: Both branches, in the shape of the prediction.
            combine: Makes one tensor of a positive and a negative one.
        """
        positive, negative = branches.positive, branches.negative
        assert negative is not None
        if not self.variance:
            return combine(positive, negative)
        mean, variance = positive.chunk(2, dim=1)
        return torch.cat([combine(mean, negative.chunk(2, dim=1)[0]), variance], dim=1)

    def _combined(self, positive: Tensor, negative: Tensor, scale: float, rescale: float) -> Tensor:
        assert self.rule is not None
        first, second = (positive, negative) if self.rule.positive == 0 else (negative, positive)
        guided = self.rule.combine(first, second, scale)
        return rescaled(guided, positive, rescale) if rescale else guided


def identify(
    outputs: Sequence[tuple[str, Any]], prediction: Tensor, scales: Sequence[float], rescale: float = 0.0,
    arguments: frozenset[str] = frozenset(),
) -> list[Match]:  # fmt: skip
    """Find all known ways in which a pipeline can have made its prediction.

    Args:
        outputs: Component and output of each evaluation of a step.
        prediction: The pipeline's prediction.
        scales: Guidance scales that it may use.
        rescale: Amount of rescaling in its arguments, in `[0, 1]`.
        arguments: Arguments that its call takes.

    Returns:
        The ways that give the same bits; empty if none does.
    """
    identified: list[Match] = []
    rules = [rule for rule in RULES if not rule.argument or rule.argument in arguments]
    for model in dict.fromkeys(name for name, _ in outputs):
        for change in CHANGES:
            matches = [
                match for match in _candidates(model, change, prediction, scales, rescale, rules)
                if (branches := match.branches(outputs, prediction)) is not None
                and _equal(match.guided(branches, match.scale, match.rescale), prediction)
            ]  # fmt: skip
            by_name: dict[str, Match] = {}
            for match in matches:
                by_name.setdefault(match.name, match)
            identified += by_name.values()
            if matches:  # further changes would be others of the same effect
                break
    named = [match for match in identified if match.rule is not None and match.rule.argument]
    return named or identified


def first_tensor(output: Any) -> Tensor | None:
    """Get the prediction in a model's output.

    Args:
        output: Tuple, diffusers output or tensor.

    Returns:
        The prediction `(B, …)`; None if there is no such tensor.
    """
    first = output if isinstance(output, Tensor) else next(iter(_entries(output)), None)
    if isinstance(first, list) and first and len({getattr(entry, "shape", None) for entry in first}) == 1:
        return torch.stack(first) if isinstance(first[0], Tensor) else None
    return first if isinstance(first, Tensor) and first.ndim > 0 else None


def _entries(output: Any) -> Any:
    return output.values() if isinstance(output, dict) else output if isinstance(output, (tuple, list)) else ()


def _candidates(
    model: str, change: str, prediction: Tensor, scales: Sequence[float], rescale: float, rules: Sequence[Rule]
) -> Iterator[Match]:  # fmt: skip
    yield Match(model, change)
    has_channels = prediction.ndim > 3 and prediction.shape[1] % 2 == 0
    variances = (False, True) if has_channels else (False,)
    for rule, scale, variance, amount in product(rules, scales, variances, dict.fromkeys((rescale, 0.0))):
        yield Match(model, change, rule, scale, amount, variance)


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a.to(b.dtype), b)


def _pair(outputs: Sequence[Any], batch: int) -> Sequence[Tensor]:
    """One output or two, each for all images; empty for anything else."""
    if any(output is None for output in outputs) or not 1 <= len(outputs) <= 2:
        return ()
    if len(outputs) == 1 and len(outputs[0]) == 2 * batch:
        return outputs[0].chunk(2)
    return outputs if all(len(output) == batch for output in outputs) else ()
