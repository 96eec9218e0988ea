"""Calls the callbacks of a run at all moments of a pipeline's own loops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from composer.callbacks.base import Step, StepCallback, StopDenoising
from composer.callbacks.progress import Progress
from composer.compat.attributes import interrupt
from composer.errors import ComposerError
from composer.pipelines.hosted.findings import Findings, StageFindings
from composer.pipelines.hosted.guiding import StageGuidance
from composer.pipelines.hosted.kept_outputs import KeptOutputs
from composer.pipelines.hosted.rules import first_tensor
from composer.pipelines.hosted.stage import Stage, aliases_of, latents_in, timesteps_from
from composer.pipelines.hosted.wrapping import Listener, schedulers_in
from composer.sampling.hooks import MOMENTS, Hooks, overrides
from composer.sampling.loop import replace_step
from composer.sampling.non_finite import FiniteWatch


class Loop:
    """Listens to one call of a pipeline.

    A call may have several loops, its stages. What a loop's frame shows of its first latents is checked when the first
    step is taken.

    Args:
        pipe: The run's own pipeline.
        hooks: Callbacks of the run.
        make_guidance: Returns the guidance of a stage, given the class with its loop.
        denoiser_name: Component that predicts, for messages.

    Attributes:
        findings: What was learnt of the pipeline.
        stage: The present or last stage; None before the first.
        ended: Last latents of the stages before the present one.
        outputs: Outputs of the models, which take the place of evaluations that nothing comes of.
        override: Receives all evaluations in place of the loop while latents are decoded; else None.
    """

    def __init__(
        self, pipe: Any, hooks: Hooks, make_guidance: Callable[[str], StageGuidance], denoiser_name: str
    ) -> None:  # fmt: skip
        self.pipe, self.hooks, self.make_guidance, self.denoiser_name = pipe, hooks, make_guidance, denoiser_name
        self.schedulers = schedulers_in(pipe)
        self.findings = Findings(type(pipe).__name__)
        self.stage: Stage | None = None
        self.ended: list[Tensor] = []
        self.outputs = KeptOutputs()
        self.override: Listener | None = None

    # --- what the pipeline does

    def begin(self, pipe: Any, frame: FrameType, timesteps: Tensor | None) -> None:
        names = frame.f_locals
        latents = latents_in(names)
        before = self.stage
        if before is not None and before.findings.steps == 0 and before.step is not None and before.begun is latents:
            return  # a second bar of the same loop
        self.end()
        cls = type(pipe).__name__
        stage = self.stage = Stage(
            pipe=pipe, number=len(self.ended), findings=StageFindings(cls), guidance=self.make_guidance(cls),
            watch=FiniteWatch(self.denoiser_name, 0 if timesteps is None else len(timesteps)), timesteps=timesteps,
            begun=latents,
            aliases=() if latents is None else aliases_of(latents, names),
            by_callback=self._is_called_back(frame),
        )  # fmt: skip
        scheduler = self._scheduler_of(timesteps)
        if latents is not None and timesteps is not None and len(timesteps) and scheduler is not None:
            stage.use(scheduler)
            self._before_first(stage, latents)

    def evaluate(self, name: str, call: Callable[[], Any]) -> Any:
        if self.override is not None:
            return self.override.evaluate(name, call)
        stage = self.stage
        if stage is None or stage.is_over:
            return call()
        number = stage.evaluations[name]
        stage.evaluations[name] += 1
        if stage.stopped is not None and (known := self.outputs.get(name, number, stage.findings.steps == 0)):
            self.findings.skipped += 1  # nothing will come of it
            return known[0]
        output = call()
        self.outputs.put(name, number, stage.findings.steps == 0, output)
        stage.outputs.append((name, first_tensor(output)))
        return output

    def take_step(
        self, name: str, scheduler: Any, call: Callable[[Tensor], Any], prediction: Tensor, timestep: Any,
        sample: Tensor
    ) -> Any:  # fmt: skip
        stage = self.stage
        if stage is None or (stage.scheduler is not None and stage.scheduler is not scheduler):
            return call(prediction)  # a second scheduler of the same loop, such as one for sound
        if stage.awaits_callback or stage.is_over:  # one more step of the same iteration
            return call(prediction)
        outputs, stage.outputs = stage.outputs, []
        stage.findings.steps += 1
        stage.evaluations.clear()
        if stage.stopped is not None:
            return handed_out(call(prediction), stage.stopped)
        stage.findings.evaluations.append(len(outputs))
        step = self._step_of(stage, name, scheduler, timestep, sample)
        stage.guidance.learn(outputs, prediction)
        stage.findings.rule = stage.guidance.rule
        prediction = stage.guidance.prediction(step, stage.scale, outputs, prediction)
        if self.hooks.moments["after_predict"] or self.hooks.moments["after_step"]:
            stage.step = step = replace_step(step, model_input=stage.scaled(sample, step.timestep))
        stage.prediction = prediction
        prediction = self._edited("after_predict", step, prediction)
        output = call(prediction)
        latents = output[0] if isinstance(output, tuple) else output.prev_sample
        stage.watch(stage.index, prediction, latents)
        if stage.by_callback:
            stage.awaits_callback = True  # it has the last word on the latents
            return output
        changed = self._after(stage, latents)
        if changed is latents and stage.stopped is None:
            return output
        return handed_out(output, changed, is_last=stage.is_over or stage.stopped is not None)

    def take_step_of_copy(self, name: str) -> None:
        stage = self.stage
        followed = (callback for callback in self.hooks.callbacks.values() if not isinstance(callback, Progress))
        if stage is None or stage.findings.steps or not any(_has_steps(callback) for callback in followed):
            return  # it steps something else, such as sound, beside the latents
        reason = f"{stage.findings.pipeline} steps with copies of its scheduler, which callbacks can't follow"
        raise ComposerError("callbacks", None, reason)

    def on_step_end(self, pipe: Any, index: int, timestep: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Receive the latents of a step; the pipeline's ``callback_on_step_end``.

        Args:
            pipe: The pipeline with the loop.
            index: Iteration, as the pipeline counts them.
            timestep: Present timestep.
            tensors: Local variables of the loop, among them its latents.

        Returns:
            The local variables to change.
        """
        stage = self.stage
        if stage is None or "latents" not in tensors:
            return {}
        if stage.stopped is not None:
            return _last_latents(stage.stopped)
        if not stage.awaits_callback:
            return {}
        stage.awaits_callback = False
        latents = self._after(stage, tensors["latents"])
        return _last_latents(latents) if stage.is_over or stage.stopped is not None else {"latents": latents}

    def end(self) -> None:
        """End the present stage; one without steps does not count."""
        stage = self.stage
        if stage is None or stage.findings.steps == 0:
            return
        if stage.last is None:
            raise ComposerError("callbacks", None, f"{stage.findings.pipeline} does not call back after its steps")
        if isinstance(stage.watch, FiniteWatch):
            stage.watch.flush()
        if stage.stopped is not None:
            interrupt(stage.pipe, False)  # of this loop alone
        stage.findings.after_step = "callback" if stage.by_callback else "scheduler"
        self.findings.stages.append(stage.findings)
        self.ended.append(stage.last)
        self.stage = None

    # --- what callbacks do

    def _before_first(self, stage: Stage, latents: Tensor) -> None:
        """Call `before_step` at the begin of a loop, and write what it changes into the loop's own latents."""
        wants = bool(self.hooks.moments["before_step"])
        given = latents.clone() if wants else latents  # which callbacks may keep
        changed = self._before(stage, given)
        if changed is given:
            return
        if stage.aliases:
            raise self._fixed(f"they are its {', '.join(stage.aliases)} too")
        if any(stride == 0 and size > 1 for stride, size in zip(latents.stride(), latents.shape)):
            raise self._fixed("its elements share memory")
        latents.copy_(changed)
        stage.edited = True

    def _before(self, stage: Stage, latents: Tensor) -> Tensor:
        """Call `before_step` of the present iteration; the latents that it begins with."""
        if stage.index >= stage.total:
            return latents
        self.hooks.total = stage.total
        stage.step = self.hooks.before(stage.make_step(latents))
        self._check_integers(stage.step.latents, latents)
        return stage.step.latents

    def _step_of(self, stage: Stage, name: str, scheduler: Any, timestep: Any, sample: Tensor) -> Step:
        """The step that the pipeline takes; its `before_step` is called now if the frame showed too little before."""
        stage.findings.scheduler = name
        if stage.step is None:
            if stage.timesteps is None:
                stage.timesteps = timesteps_from(scheduler, timestep)
            if stage.timesteps is None:
                raise ComposerError("callbacks", None, f"{stage.findings.pipeline} does not show its timesteps")
            stage.use(scheduler)
            if self._before(stage, sample) is not sample:
                raise self._fixed("its loop does not show them before the first step")
        elif stage.index == 0:
            stage.findings.first_latents = not stage.aliases and _same(stage.begun, sample)
            if stage.edited and not stage.findings.first_latents:
                raise self._fixed("its loop begins with others")
        assert stage.step is not None
        if stage.step.latents is not sample:  # between two steps the pipeline may change them
            stage.step = replace_step(stage.step, latents=sample)
        return stage.step

    def _after(self, stage: Stage, latents: Tensor) -> Tensor:
        """Call `after_step` and then `before_step` of the next iteration; the latents that the loop goes on with."""
        assert stage.step is not None
        try:
            latents = self._edited("after_step", stage.step, latents)
        except StopDenoising as stop:
            stage.stopped = stage.last = latents if stop.latents is None else stop.latents
            interrupt(stage.pipe)  # which not every pipeline reads: the others go on without effect
            return stage.stopped
        stage.index += 1
        stage.last = latents
        return self._before(stage, latents)

    def _edited(self, moment: str, step: Step, tensor: Tensor) -> Tensor:
        changed = self.hooks.edit(moment, step, tensor)
        self._check_integers(changed, tensor)
        return changed

    def _check_integers(self, changed: Tensor, before: Tensor) -> None:
        if changed is not before and not before.is_floating_point():
            raise ComposerError(
                "callbacks", None, f"{self.findings.pipeline} has integers for latents, which can't be changed"
            )

    def _scheduler_of(self, timesteps: Tensor | None) -> Any:
        """The scheduler whose timesteps a loop iterates over; None if they show none."""
        if timesteps is None:
            return None
        known = [(getattr(scheduler, "timesteps", None), scheduler) for scheduler in self.schedulers.values()]
        exact = [scheduler for schedule, scheduler in known if schedule is timesteps]
        storage = timesteps.untyped_storage().data_ptr()
        views = [
            s
            for schedule, s in known
            if isinstance(schedule, Tensor) and schedule.untyped_storage().data_ptr() == storage
        ]
        alike = [
            s
            for schedule, s in known
            if isinstance(schedule, Tensor) and torch.isin(timesteps.to(schedule.device), schedule).all()
        ]
        return next(iter((*exact, *views, *alike)), None)

    def _is_called_back(self, frame: FrameType) -> bool:
        """Whether a loop has this callback and takes what it returns, as PRX does not; not where it decodes `denoised`,
        which only the scheduler's output changes.
        """
        names = frame.f_locals
        has_it = any(names[name] == self.on_step_end for name in names if name.endswith("callback_on_step_end"))
        variables = frame.f_code.co_varnames
        return has_it and "callback_outputs" in variables and "denoised" not in variables

    def _fixed(self, why: str) -> ComposerError:
        name = self.findings.pipeline if self.stage is None else self.stage.findings.pipeline
        return ComposerError("callbacks", None, f"{name}: the first latents can't be changed by before_step, as {why}")


def _has_steps(callback: StepCallback) -> bool:
    return any(overrides(callback, moment) for moment in MOMENTS[:3])


def handed_out(output: Any, latents: Tensor, is_last: bool = True) -> Any:
    """Replace the latents in what a scheduler returned, and the clean latents that some pipelines decode in the end.

    Args:
        output: Tuple or diffusers output of a scheduler's `step`.
        latents: Latents x_{t−1} to go on with.
        is_last: Whether the loop ends with these latents.

    Returns:
        The changed output; the same if the scheduler steps a part of the latents, and the callback replaces all of
        them.
    """
    if not _is_like(output[0] if isinstance(output, tuple) else output.prev_sample, latents):
        return output
    if isinstance(output, tuple):
        rest = (latents if is_last and _is_like(entry, latents) else entry for entry in output[1:])
        return (latents, *rest)
    output.prev_sample = latents
    return output


def _last_latents(latents: Tensor) -> dict[str, Tensor]:
    """Local variables at the end of a loop; latent consistency models decode `denoised`."""
    return {"latents": latents, "denoised": latents}


def _is_like(value: Any, latents: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == latents.shape


def _same(begun: Tensor | None, sample: Tensor) -> bool:
    return begun is sample or (begun is not None and begun.shape == sample.shape and torch.equal(begun, sample))
