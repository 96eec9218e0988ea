"""Conformance tests of guidance: inherit `GuidanceTests` and create the guidance.

from composer.testing.conformance import GuidanceTests

class TestDecaying(GuidanceTests):
    families = ("sd", "sd3")

    def make(self):
        return Decaying(scale=5.0)
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from composer.callbacks.base import Step, StepCallback
from composer.records.result import Result
from composer.sampling.guidance import Branches, Guidance
from composer.testing.option_files import settings_of_file
from composer.testing.runs import run, same, task_named, tiny_model


class GuidanceTests:
    """Tests that a subclass named `Test…` inherits.

    Attributes:
        families: composer's families whose tiny pipelines it is run with; they take a prompt.
        option: Its option file, if it is to be checked.
    """

    families: ClassVar[tuple[str, ...]] = ("sd",)
    option: ClassVar[Path | None] = None

    def make(self) -> Guidance:
        """Create the guidance.

        Returns:
            A new guidance.
        """
        raise NotImplementedError(f"{type(self).__name__} does not create its guidance")

    def test_the_option_file_has_settings_of_the_constructor(self) -> None:
        if self.option is None:
            pytest.skip("no option file is named")
        settings_of_file(self.option, type(self.make()), nested=False)

    def test_it_runs_and_repeats(self) -> None:
        """It keeps no state from one run to the next, and a new one generates the same images."""
        for family in self.families:
            guidance = self.make()
            first = run(family, {}, guidance=guidance)
            run(family, {}, guidance=guidance, batch=3, steps=3)
            assert same(run(family, {}, guidance=guidance), first), f"{family}: it remembers an earlier run"
            assert same(run(family, {}, guidance=self.make()), first), f"{family}: a new one generates other images"

    def test_images_of_a_batch_are_those_of_single_runs(self) -> None:
        if not self.make().batch_safe:
            pytest.skip("it declares that images of a batch depend on each other")
        for family in self.families:
            alone, batch = (run(family, {}, guidance=self.make(), batch=size) for size in (1, 3))
            one, first = (np.asarray(result.images[0], int) for result in (alone, batch))
            # 2 of 255: a batch is added up in another order than those of a single image
            assert np.abs(one - first).max() <= 2, f"{family}: it mixes the images of a batch"

    def test_a_second_order_scheduler_fits(self) -> None:
        assert run(self.families[0], {}, guidance=self.make(), heun=True).iterations > 4

    def test_negative_prompts_count_where_it_needs_them(self) -> None:
        """Another negative prompt changes the images exactly if `do_classifier_free_guidance` is true."""
        for family in self.families:
            plain, other = (self._with_negative(family, text) for text in (None, "rain and fog"))
            needed = self.make().do_classifier_free_guidance
            assert same(plain, other) != needed, f"{family}: do_classifier_free_guidance is {needed}"

    @torch.no_grad()
    def test_it_combines_predictions_of_a_step(self) -> None:
        """The result has the shape and dtype of the predictions, is finite, and these are not changed."""
        for family in self.families:
            record = Steps()
            run(family, {"steps": record}, guidance=self.make())
            for step in record.steps:
                latents = step.latents
                branches = Branches(positive=torch.cos(latents), negative=torch.sin(latents))
                kept = replace(branches, positive=branches.positive.clone(), negative=torch.sin(latents))
                guidance = self.make().for_run(getattr(tiny_model(family).pipe, "unet", torch.nn.Identity()))
                combined = guidance(step, branches)
                assert combined.shape == latents.shape and combined.dtype == latents.dtype
                assert torch.isfinite(combined).all()
                for name in ("positive", "negative"):
                    before, after = getattr(kept, name), getattr(branches, name)
                    assert torch.equal(before, after), f"it changes the {name} prediction"

    def _with_negative(self, family: str, negative: str | None) -> Result:
        model = tiny_model(family)
        request = replace(model.request("text2img"), negative_prompts=(negative,))
        return model.pipeline(task_named("text2img"), {}, guidance=self.make())(request)


class Steps(StepCallback):
    """Record the steps of a run; change nothing.

    Attributes:
        steps: All steps, in order.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def before_step(self, step: Step) -> None:
        self.steps.append(step)
