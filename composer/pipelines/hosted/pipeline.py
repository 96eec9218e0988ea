"""A run of a pipeline that owns its loop: one call of it, with the callbacks around and inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from composer.callbacks.base import Run, StepCallback
from composer.callbacks.overlay import Overlay
from composer.callbacks.progress import Progress
from composer.callbacks.request import Request
from composer.checks.hosted_steps import STEP_MOMENTS, applied_by_composer
from composer.checks.pipeline_arguments import arguments
from composer.checks.pipeline_steps import Steps
from composer.errors import ComposerError
from composer.options.lifecycle import clear_models
from composer.pipelines.hosted.base_call import Call
from composer.pipelines.hosted.call import HostedCall
from composer.pipelines.hosted.models import unavailable
from composer.pipelines.hosted.outputs import decoded_of
from composer.pipelines.long_prompts import check_prompt_length
from composer.pipelines.pipeline import PassOutcome, Pipeline, seeded
from composer.sampling.guidance import Guidance
from composer.sampling.hooks import Hooks, overrides
from composer.sampling.model_guard import OutcomeKeeper, restore_after_run
from composer.system.files import scratch_directory
from composer.system.signatures import keywords_of
from composer.tasks.base import Task

#: What `Run` can't offer, since the pipeline does it inside of its own call.
UNAVAILABLE = ("encode", "predict", "latent_mask", "tokens")


class Hosted(Pipeline):
    """A diffusers pipeline behind the call of `Pipeline`."""

    @property
    def pipeline_class(self) -> Any:
        """The class whose arguments and source show what the pipeline takes."""
        return type(self.family.pipe)

    def run_pass(self, task: Task, request: Request, folder: Path | None, notes: list[str]) -> PassOutcome:
        modules, timesteps = self.family.modules, self._timesteps(request)
        hooks = Hooks(
            {**_overlay(request), **self.option_callbacks(), **self.callbacks},
            len(timesteps),
            self.skip_on_error,
            notes,
        )
        check_prompt_length(self.family.prompt_tokenizer, request, self.overflow, notes.append)
        with (
            OutcomeKeeper() as keeper,
            seeded(request.seeds[0]),
            self.options_active(request),
            scratch_directory() as temporary,
            restore_after_run(modules, self.callbacks, self.skip_on_error, notes, clear_models),
        ):
            call = self._call(request, hooks, notes)
            run = Run(
                timesteps=timesteps, generators=_generators(request), scheduler=call.pipe.scheduler, folder=folder,
                scratch=temporary, request=request, modules=modules, decode=call.decode, denoised=call.denoised,
                predicted=call.predicted, noised=call.noised, **dict.fromkeys(UNAVAILABLE, unavailable),
            )  # fmt: skip
            with call.listening(), hooks.around(run):
                decoded = decoded_of(call.run(), call.pipe, call.fps)
                self._check_called(call)
                media = hooks.finish(run, decoded.media)
                count = sum(stage.steps for stage in call.view.findings.stages) or len(timesteps)
                keeper.outcome = outcome = PassOutcome(
                    replace(decoded, media=media), count, call.view.findings.as_record()
                )
        return outcome

    def _call(self, request: Request, hooks: Hooks, notes: list[str]) -> Call:
        cls = self.pipeline_class

        def guidance() -> Guidance | None:
            mine = applied_by_composer(cls, self.guidance)
            return self.guidance.for_run(self.family.denoiser) if mine else None

        return HostedCall(
            self.family.pipe, self.make_scheduler, lambda: self._keywords(request), hooks, scale=self.guidance.scale,
            guidance=guidance, notes=notes, denoiser_name=self.family.denoiser_name,
            fps=request.inputs.get("fps"),
        )  # fmt: skip

    def _keywords(self, request: Request) -> dict[str, Any]:
        """Fresh keywords for the call of the pipeline."""
        keywords = arguments(self.pipeline_class, request, self.guidance)
        accepted = keywords_of(self.pipeline_class.__call__)
        keywords |= {name: value for name, value in self.step_settings.items() if name in accepted}
        generators = list(_generators(request))
        return keywords | {"generator": generators if len(generators) > 1 else generators[0]}  # not all take a list

    def _timesteps(self, request: Request) -> Tensor:
        """Timesteps as far as they are known before the run; NaN where the pipeline computes them itself."""
        scheduler, steps = self.make_scheduler(), Steps(self.pipeline_class)
        try:
            steps.set_timesteps(scheduler, request, 1, "cpu")
        except ComposerError:
            return torch.arange(request.steps - request.steps_skipped)
        timesteps = scheduler.timesteps[request.steps_skipped * getattr(scheduler, "order", 1) :]
        return torch.full_like(timesteps, torch.nan, dtype=torch.float32) if steps.own(scheduler) else timesteps

    def _check_called(self, call: Call) -> None:
        """Refuse callbacks of steps if the pipeline showed no loop."""
        if call.view.findings.stages:
            return
        for name, callback in self.callbacks.items():
            if any(overrides(callback, moment) for moment in STEP_MOMENTS) and not isinstance(callback, Progress):
                reason = f"{call.view.findings.pipeline} shows no denoising loop, so it was never called"
                raise ComposerError(f"callbacks.{name}", None, reason)


def _generators(request: Request) -> tuple[torch.Generator, ...]:
    return tuple(torch.Generator("cpu").manual_seed(seed) for seed in request.seeds)


def _overlay(request: Request) -> Mapping[str, StepCallback]:
    """The callback that keeps the unmasked part of an image, if the task sets it."""
    inputs = request.inputs
    if not inputs.get("keep_unmasked"):
        return {}
    return {
        "inpaint.overlay": Overlay(inputs["image"], inputs["mask"], inputs["blur"], inputs.get("match_tones", False))
    }
