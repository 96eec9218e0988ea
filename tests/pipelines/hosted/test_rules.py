"""The rule of guidance is the one that gives the pipeline's bits, and no other."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from composer import ComposerError
from composer.callbacks.base import Step
from composer.pipelines.hosted.guiding import NO_CONDITIONING, StageGuidance
from composer.pipelines.hosted.rules import RULES, identify
from composer.sampling.guidance import ClassifierFree, Guidance, Interval, rescaled
from composer.sampling.guiders import Guider

SHAPES = [(2, 4, 8, 8), (2, 6, 8)]
SCALE = 3.5


def tensors(shape, count=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for _ in range(count)]


def step(scale: float, index: int = 0) -> Step:
    latents = torch.zeros(2, 4, 8, 8)
    return Step(
        index=index, total=4, timestep=torch.tensor(1), sigma=1.0, latents=latents, model_input=latents,
        conditioning=NO_CONDITIONING,
        guidance_scale=scale,
    )  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_is_found(rule, together, shape):
    a, b = tensors(shape)
    prediction = rule.combine(a, b, SCALE)
    outputs = [("unet", torch.cat([a, b]))] if together else [("unet", a), ("unet", b)]
    (match,) = identify(outputs, prediction, [1.0, SCALE], arguments=frozenset({rule.argument}))
    assert match.rule is rule and match.scale == SCALE
    branches = match.branches(outputs, prediction)
    assert torch.equal(branches.positive, (a, b)[rule.positive])
    assert torch.equal(match.guided(branches, 5.0), rule.combine(a, b, 5.0))


@pytest.mark.parametrize(
    ("change", "prepare"),
    [
        ("first tokens or channels", lambda x: torch.cat([x, torch.ones(2, 3, 8)], dim=1)),
        ("last tokens", lambda x: torch.cat([torch.ones(2, 3, 8), x], dim=1)),
        ("negated", lambda x: -x),
    ],
)
def test_changes_before_the_rule_are_found(change, prepare):
    a, b = tensors((2, 6, 8))
    (match,) = identify([("t", prepare(a)), ("t", prepare(b))], RULES[1].combine(a, b, SCALE), [SCALE])
    assert (match.change, match.rule) == (change, RULES[1])


def test_a_learned_variance_is_dropped_or_kept():
    a, b = tensors((1, 8, 4, 4))
    mean = RULES[0].combine(a[:, :4], b[:, :4], SCALE)
    (dropped,) = identify([("unet", torch.cat([a, b]))], mean, [SCALE])
    assert dropped.change == "first tokens or channels" and not dropped.variance
    kept_prediction = torch.cat([mean, b[:, 4:]], dim=1)
    (kept,) = identify([("unet", torch.cat([a, b]))], kept_prediction, [SCALE])
    assert kept.variance and kept.rule is RULES[0]
    branches = kept.branches([("unet", torch.cat([a, b]))], kept_prediction)
    assert torch.equal(kept.guided(branches, SCALE), kept_prediction)


def test_rescaling_belongs_to_the_rule():
    a, b = tensors((2, 4, 8, 8))
    prediction = rescaled(RULES[0].combine(a, b, SCALE), b, 0.7)
    (match,) = identify([("unet", torch.cat([a, b]))], prediction, [SCALE], rescale=0.7)
    assert (match.rule, match.rescale) == (RULES[0], 0.7)


def test_one_branch_and_outputs_of_other_models():
    (a, other) = tensors((2, 4, 8, 8))
    (match,) = identify([("controlnet", other), ("unet", a)], a.clone(), [SCALE])
    assert (match.model, match.rule, match.name) == ("unet", None, "one branch")


@pytest.mark.parametrize("kind", ["three branches", "last bit", "other scale"])
def test_what_differs_in_a_bit_is_not_known(kind):
    a, b, c = tensors((2, 4, 8, 8), 3)
    outputs, prediction = [("unet", torch.cat([a, b]))], RULES[0].combine(a, b, SCALE)
    if kind == "three branches":
        outputs = [("unet", torch.cat([a, b, c]))]
    elif kind == "last bit":
        prediction[0, 0, 0, 0] = torch.nextafter(prediction[0, 0, 0, 0], torch.tensor(torch.inf))
    else:
        prediction = RULES[0].combine(a, b, SCALE + 1)
    assert identify(outputs, prediction, [SCALE]) == []
    guidance = StageGuidance("P", None, [SCALE], 0.0, [])
    guidance.learn(outputs, prediction)
    assert guidance.rule is None
    assert guidance.prediction(step(SCALE), SCALE, outputs, prediction) is prediction
    with pytest.raises(ComposerError, match="P: how it guides is not known, so its scale can't be changed to 5"):
        guidance.prediction(step(5.0), SCALE, outputs, prediction)


def test_a_rule_is_checked_again_at_each_step_at_which_it_is_applied():
    a, b = tensors((2, 4, 8, 8))
    guidance, outputs = StageGuidance("P", None, [SCALE], 0.0, []), [("unet", torch.cat([a, b]))]
    guidance.learn(outputs, RULES[0].combine(a, b, SCALE))
    with pytest.raises(ComposerError, match="P: it does not guide by the same rule at step 3/4"):
        guidance.prediction(step(5.0, 2), SCALE, outputs, a + b)


def test_rules_that_give_the_same_bits_are_distinguished_later():
    a, b = tensors((2, 4, 8, 8))
    guidance = StageGuidance("P", None, [SCALE], 0.0, [])
    guidance.learn([("unet", torch.cat([a, a]))], a.clone())
    assert len(guidance.matches) > 1
    guidance.learn([("unet", torch.cat([a, b]))], RULES[0].combine(a, b, SCALE))
    assert [match.rule for match in guidance.matches] == [RULES[0]]


def guided(guidance: Guidance | None, index: int, scale: float = SCALE, rule=RULES[0]):
    """The prediction at a step, and both branches."""
    a, b = tensors((2, 4, 8, 8))
    notes: list[str] = []
    stage, outputs = StageGuidance("P", guidance, [SCALE], 0.0, notes), [("unet", torch.cat([a, b]))]
    prediction = rule.combine(a, b, SCALE)
    stage.learn(outputs, prediction)
    branches = (a, b)[rule.positive], (a, b)[1 - rule.positive]
    return stage.prediction(step(scale, index), SCALE, outputs, prediction), prediction, *branches, notes


def test_composers_guidance_replaces_the_pipelines():
    result, prediction, positive, _, _ = guided(ClassifierFree(SCALE, rescale=0.7), 0)
    assert torch.equal(result, rescaled(prediction, positive, 0.7))
    inside, prediction, positive, _, notes = guided(Interval(SCALE), 1)
    assert torch.equal(inside, prediction) and notes == []
    outside, _, positive, _, notes = guided(Interval(SCALE), 0)
    assert torch.equal(outside, positive) and notes == [
        "P evaluates both branches at every step, so steps without guidance save no time"
    ]


@pytest.mark.parametrize(
    "guider", ["AdaptiveProjectedGuidance", "TangentialClassifierFreeGuidance", "ClassifierFreeZeroStarGuidance"]
)
@pytest.mark.parametrize("rule", [RULES[0], RULES[2]], ids=["plain", "scale less one"])
def test_guiders_of_two_branches_get_them(guider, rule):
    bound = Guider(guider, SCALE).for_run(torch.nn.Identity())
    result, prediction, positive, negative, _ = guided(bound, 1, rule=rule)
    reference = Guider(guider, SCALE)._made({})
    reference.guidance_scale = SCALE + rule.offset
    reference.set_state(step=1, num_inference_steps=4, timestep=torch.tensor(1))
    expected = reference.forward(positive, negative).pred
    assert torch.equal(result, expected) and not torch.equal(result, prediction)


def test_a_scale_of_one_is_the_positive_branch():
    result, _, positive, _, notes = guided(None, 2, scale=1.0)
    assert torch.equal(result, positive) and len(notes) == 1


class Twice(Guidance):
    """Evaluates the model at other latents."""

    scale = SCALE

    def prediction(self, step, predict):
        return predict(replace(step, latents=step.latents + 1)).positive


def test_guidance_that_evaluates_the_model_itself_is_refused():
    with pytest.raises(ComposerError, match="guidance=Twice: P: Twice evaluates the model itself, which it can't here"):
        guided(Twice(), 0)
