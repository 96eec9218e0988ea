from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from composer.errors import ComposerError
from composer.sampling.guidance import Auto, Branches, ClassifierFree, Distilled, Unguided, rescaled

POSITIVE, NEGATIVE = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def step(scale: float) -> SimpleNamespace:
    return SimpleNamespace(guidance_scale=scale)


def test_classifier_free_guidance_is_the_paper_s_formula():
    guided = ClassifierFree(3.0)(step(3.0), Branches(POSITIVE, NEGATIVE))
    assert torch.equal(guided, NEGATIVE + 3.0 * (POSITIVE - NEGATIVE))


def test_the_step_s_scale_counts_so_that_a_callback_can_change_it():
    assert torch.equal(ClassifierFree(3.0)(step(0.0), Branches(POSITIVE, NEGATIVE)), NEGATIVE)


def test_rescale_is_diffusers_own():
    assert torch.equal(rescaled(NEGATIVE, POSITIVE, 0.7), rescale_noise_cfg(NEGATIVE, POSITIVE, 0.7))


def test_without_a_negative_branch_the_prediction_stays():
    for guidance in (ClassifierFree(5.0), Distilled(3.5), Unguided()):
        assert guidance(step(5.0), Branches(POSITIVE)) is POSITIVE


def test_guidance_needs_negative_prompts_only_above_one():
    assert ClassifierFree(1.01).do_classifier_free_guidance
    assert not ClassifierFree(1.0).do_classifier_free_guidance
    assert not Distilled(3.5).do_classifier_free_guidance


def test_auto_is_distilled_for_models_that_take_the_scale():
    assert isinstance(Auto(3.5).for_model(True), Distilled) and Auto(3.5).for_model(True).embedded == 3.5
    assert isinstance(Auto(3.5).for_model(False), ClassifierFree) and Auto(3.5).for_model(False).scale == 3.5


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, "7", True, None])
def test_what_is_no_scale_is_refused(value):
    with pytest.raises(ComposerError, match=r"guidance\.scale"):
        ClassifierFree(value)


def test_a_family_s_own_arithmetic_replaces_the_formula_and_rescale_works_on_top():
    branches = Branches(POSITIVE, NEGATIVE, lambda positive, negative, scale: positive * scale)
    assert torch.equal(ClassifierFree(3.0)(step(3.0), branches), POSITIVE * 3.0)
    again = ClassifierFree(3.0, rescale=0.5)(step(3.0), branches)
    assert torch.equal(again, rescaled(POSITIVE * 3.0, POSITIVE, 0.5))
