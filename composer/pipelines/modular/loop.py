"""Calls the callbacks of a run at all moments of the denoising loops in a run's blocks."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from composer.callbacks.base import Step, StopDenoising
from composer.checks.hosted_steps import STEP_MOMENTS
from composer.checks.modular_loops import DENOISER, loops_in, prediction_name
from composer.errors import ComposerError
from composer.pipelines.hosted.findings import Findings, StageFindings
from composer.pipelines.hosted.guiding import StageGuidance
from composer.pipelines.hosted.stage import Stage
from composer.pipelines.modular.guiding import RunGuiders
from composer.sampling.hooks import Hooks
from composer.sampling.loop import replace_step
from composer.sampling.non_finite import FiniteWatch

#: Prediction of clean latents.
CLEAN = "noise_pred_video"


class BlockLoop:
    """Takes the place of `loop_step` in all loops of a run's blocks.

    Args:
        pipe: The run's own pipeline.
        blocks: Its blocks, of which no other run has one.
        hooks: Callbacks of the run.
        guiders: Its guiders.
        denoiser_name: Component that predicts, for messages.

    Attributes:
        findings: What was learnt of the pipeline.
        stage: The present or last loop; None before the first.
        name: Name of that loop in the blocks.
        variables: Its variables at the last step, from which the blocks after it go on.
        predicts_clean: Whether its denoiser turns what the model predicts into clean latents, as that of LTX-2 does.
    """

    def __init__(self, pipe: Any, blocks: Any, hooks: Hooks, guiders: RunGuiders, denoiser_name: str) -> None:
        self.pipe, self.hooks, self.guiders, self.denoiser_name = pipe, hooks, guiders, denoiser_name
        self.findings = Findings(type(pipe).__name__)
        self.stage: Stage | None = None
        self.name = ""
        self.variables: dict[str, Any] = {}
        self.count, self.predicts_clean = 0, False
        for name, loop in loops_in(blocks).items():
            loop.loop_step = partial(self.take_step, name, loop)
            loop.set_progress_bar_config(disable=True)

    def take_step(self, name: str, loop: Any, components: Any, variables: Any, **keywords: Any) -> Any:
        """Take one iteration of a loop, with the callbacks in it.

        Args:
            name: Name of the loop.
            loop: The loop.
            components: The pipeline.
            variables: The loop's variables, a `BlockState`.
            **keywords: Index and timestep of the iteration, for the blocks.

        Returns:
            The pipeline and the changed variables.
        """
        if self.stage is None or self.name != name:
            self._begin(name, components, variables)
        stage = self.stage
        assert stage is not None
        if stage.stopped is not None:  # nothing will come of it
            self.findings.skipped += self.guiders.evaluations()
            return components, variables
        stage.index = int(keywords.get("i", stage.findings.steps))
        self.variables = vars(variables)
        step = self._before(stage, variables)
        for block_name, block in loop.sub_blocks.items():
            components, variables = block(components, variables, **keywords)
            if block_name == DENOISER:
                self._predicted(stage, step, variables, str(prediction_name(loop)))
        self.variables = vars(variables)
        self._after(stage, variables)
        return components, variables

    def end(self) -> None:
        """End the present loop."""
        stage, self.stage = self.stage, None
        if stage is None:
            return
        if isinstance(stage.watch, FiniteWatch):
            stage.watch.flush()
        self.count += 1
        self.findings.stages.append(stage.findings)

    def _begin(self, name: str, components: Any, variables: Any) -> None:
        self.end()
        cls = type(self.pipe).__name__
        total = len(variables.timesteps)
        self.name, self.hooks.total = name, total
        self.stage = stage = Stage(
            pipe=components, number=self.count, timesteps=variables.timesteps, begun=variables.latents,
            findings=StageFindings(cls, "scheduler", rule=self.guiders.rule, first_latents=True, after_step="callback"),
            guidance=StageGuidance(cls, None, (self.guiders.scale,), 0.0, self.hooks.notes),
            watch=FiniteWatch(self.denoiser_name, total),
        )  # fmt: skip
        stage.use(components.scheduler)

    def _before(self, stage: Stage, variables: Any) -> Step:
        latents = variables.latents
        hooked = any(self.hooks.moments[moment] for moment in STEP_MOMENTS)
        given = latents.clone() if hooked else latents  # callbacks may keep them, and some blocks write into theirs
        step = self.hooks.before(stage.make_step(given))
        stage.guidance.check_conditioning(step)
        _check_floating(step.latents, given, self.findings.pipeline)
        if step.latents is not given:
            variables.latents = step.latents.clone()
        self.guiders.begin(step)
        if self.hooks.moments["after_predict"] or self.hooks.moments["after_step"]:
            step = replace_step(step, model_input=stage.scaled(step.latents, step.timestep))
        stage.step = step
        return step

    def _predicted(self, stage: Stage, step: Step, variables: Any, name: str) -> None:
        """Let callbacks change the prediction."""
        stage.findings.evaluations.append(self.guiders.evaluations())
        self.predicts_clean = name == CLEAN
        stage.prediction = prediction = getattr(variables, name)
        setattr(variables, name, self.hooks.edit("after_predict", step, prediction))

    def _after(self, stage: Stage, variables: Any) -> None:
        """Let callbacks change the latents at the end of an iteration, or stop the loop."""
        assert stage.step is not None and stage.prediction is not None
        latents = variables.latents
        stage.findings.steps += 1
        stage.watch(stage.index, stage.prediction, latents)
        try:
            changed = self.hooks.edit("after_step", stage.step, latents)
        except StopDenoising as stop:
            changed = stage.stopped = latents if stop.latents is None else stop.latents
        _check_floating(changed, latents, self.findings.pipeline)
        stage.last = changed
        variables.latents = changed if changed is latents else changed.clone()


def _check_floating(changed: Tensor, before: Tensor, name: str) -> None:
    if changed is not before and not before.is_floating_point():
        raise ComposerError("callbacks", None, f"{name} has integers for latents, which can't be changed")
