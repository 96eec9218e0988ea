"""The complete schedule of a run on tiny tensors, before weights load: what fails at its last step fails here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.layouts import HOSTED
from composer.checks.compatibility import Checked
from composer.checks.pipeline_steps import Steps
from composer.errors import ComposerError
from composer.loading.skeleton import create_skeleton
from composer.pipelines.check_facts import schedule_facts
from composer.pipelines.refined import count_base_iterations
from composer.sampling.non_finite import is_finite
from composer.sampling.sampler import Sampler
from composer.sampling.scheduler_settings import blame_setting, constructor
from composer.sampling.schedulers import dropped_settings, make_scheduler
from composer.system.signatures import keywords_of

#: Prediction types other than noise.
NOT_NOISE = ("v_prediction", "sample")
#: Notes of schedules that passed with these steps: jobs of a sweep have them in common.
_passed: dict[str, tuple[str, ...]] = {}
#: Configs of schedulers as pipeline classes change them, which their other components have no part in.
_originals: dict[str, dict[str, Any]] = {}
MAX_PASSED = 256


class TimestepLayout(Protocol):
    """The class of a family, or the steps of a pipeline class."""

    def set_timesteps(
        self, scheduler: Any, request: Request, vae_scale_factor: int, device: torch.device | str, /
    ) -> None:
        """Lay out the timesteps of a scheduler.

        Args:
            scheduler: A fresh diffusers scheduler; changed in place.
            request: Number of steps and size.
            vae_scale_factor: Pixels per latent along one side.
            device: Device of the timesteps.
        """


class StepFailure(Exception):
    """A step can't be taken; the text says which, and why."""


class _Trial(NamedTuple):
    """A schedule that can be tried with a part of its settings."""

    cls: Any
    original: Mapping[str, Any]
    settings: Mapping[str, Any]
    step_settings: Mapping[str, Any]
    layout: TimestepLayout
    request: Request
    vae_scale_factor: int

    def prepare_scheduler(self, settings: Mapping[str, Any]) -> Any:
        """Create the scheduler with some of its settings, and set its timesteps."""
        chosen = {key: settings[key] for key in self.settings if key in settings}
        scheduler = make_scheduler(self.cls, self.original, chosen)
        self.layout.set_timesteps(scheduler, self.request, self.vae_scale_factor, "cpu")
        return scheduler

    def walk(self, settings: Mapping[str, Any]) -> None:
        """Take all steps with some of the settings."""
        step_settings = {key: settings[key] for key in self.step_settings if key in settings}
        generators = (torch.Generator().manual_seed(0),)
        _take_steps(Sampler(self.prepare_scheduler(settings), generators, step_settings), self.request)


def check_schedule(
    checked: Checked, cls: Any, settings: dict[str, Any], step_settings: dict[str, Any], layout: TimestepLayout
) -> tuple[str, ...]:
    """Refuse a scheduler that can't lay out the request's steps, or can't take them; what passed is not tried again.

    Args:
        checked: The request with its checkpoint.
        cls: Scheduler class.
        settings: Settings of the scheduler.
        step_settings: Keywords of its `step`.
        layout: Lays out the timesteps.

    Returns:
        Notes, such as about settings of the checkpoint that the class does not have.

    Raises:
        ComposerError: A step fails; names the step and the reason.
    """
    facts = schedule_facts(checked)
    if facts is None:
        return _check_schedule(checked, cls, settings, step_settings, layout)
    key = repr([facts, checked.request.steps, checked.request.steps_skipped])
    if (notes := _passed.get(key)) is None:
        notes = _check_schedule(checked, cls, settings, step_settings, layout)
        while len(_passed) >= MAX_PASSED:
            del _passed[next(iter(_passed))]
        _passed[key] = notes
    return notes


def _check_schedule(
    checked: Checked, cls: Any, settings: dict[str, Any], step_settings: dict[str, Any], layout: TimestepLayout
) -> tuple[str, ...]:
    checkpoint, name = checked.checkpoint, checked.spec.options.get("scheduler") or cls.__name__
    _check_prediction(name, cls, checkpoint)
    original = original_config(checkpoint)
    trial = _Trial(cls, original, settings, step_settings, layout, checked.request, checkpoint.vae_scale_factor)
    if isinstance(layout, Steps) and checked.spec.scheduler.target is None and not checked.spec.scheduler.keywords:
        return ()  # the pipeline's own scheduler as it is, which it may step in ways of its own
    scheduler = _laid_out(trial, name, checked.spec.scheduler.keywords)
    _check_refiner(checked, scheduler)
    try:
        trial.walk({**settings, **step_settings})
    except StepFailure as error:
        blamed = blame_setting(cls, checked.spec.scheduler.keywords, error, trial.walk)
        refusal = ComposerError("scheduler", name, f"{cls.__name__} can't: {error}")
        raise (blamed if "." in blamed.key else refusal) from None
    lost = dropped_settings(scheduler, checkpoint.classes.get("scheduler", ""))
    return (f"scheduler: {cls.__name__} has no {', '.join(lost)}, which the checkpoint's own has",) if lost else ()


def _laid_out(trial: _Trial, name: str, keywords: Mapping[str, Any]) -> Any:
    """The scheduler with timesteps set, or the refusal of a setting."""
    try:
        return trial.prepare_scheduler(trial.settings)
    except ComposerError as error:
        concerns_scheduler = error.key == "scheduler"
        raise (ComposerError("scheduler", name, error.reason, error.allowed) if concerns_scheduler else error) from None
    except Exception as error:
        blamed = blame_setting(trial.cls, keywords, error, trial.prepare_scheduler)
        raise (blamed if "." in blamed.key else _layout_refusal(name, trial.cls, trial.request, error)) from None


def _layout_refusal(name: str, cls: Any, request: Request, error: Exception) -> ComposerError:
    fault = str(error).partition(" Make sure")[0]  # diffusers' advice may be beyond the range of a setting
    if isinstance(error, ValueError):
        return ComposerError("steps", request.steps, f"{cls.__name__} can't lay them out: {fault} Take fewer steps")
    reason = f"{cls.__name__} can't lay out {request.steps} steps: {_first_line(error)}"
    return ComposerError("scheduler", name, reason)


def _check_refiner(checked: Checked, scheduler: Any) -> None:
    """Refuse a schedule that leaves no step to the base or to the refiner."""
    refiner = checked.spec.model.refiner
    if checked.refiner is not None and refiner is not None:
        first = checked.request.steps_skipped * getattr(scheduler, "order", 1)
        count_base_iterations(scheduler, scheduler.timesteps[first:], refiner.start)


def original_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Get the config of the checkpoint's scheduler as a run finds it: some pipeline classes change it.

    Args:
        checkpoint: Checkpoint of the run.

    Returns:
        Setting → value.
    """
    if checkpoint.family == HOSTED:
        return _original_config(checkpoint)
    key = repr((checkpoint.pipe, checkpoint.classes.get("scheduler"), checkpoint.settings, checkpoint.scheduler))
    if key not in _originals:
        while len(_originals) >= MAX_PASSED:
            del _originals[next(iter(_originals))]
        _originals[key] = _original_config(checkpoint)
    return dict(_originals[key])


def _original_config(checkpoint: Checkpoint) -> dict[str, Any]:
    pipeline = create_skeleton(checkpoint)
    return dict(checkpoint.scheduler if pipeline is None else pipeline.scheduler.config)


def _check_prediction(name: str, cls: Any, checkpoint: Checkpoint) -> None:
    if checkpoint.prediction in NOT_NOISE and "prediction_type" not in keywords_of(constructor(cls)):
        reason = f"{cls.__name__} steps by predictions of noise alone, and this model predicts {checkpoint.prediction}"
        raise ComposerError("scheduler", name, f"{reason}: choose another")


def _take_steps(sampler: Sampler, request: Request) -> None:
    """Take all steps with random predictions; only the shapes of real ones are larger."""
    if request.steps_skipped or "strength" in request.inputs:  # else schedulers find their first timestep themselves
        sampler.skip(request.steps_skipped)
    generator = torch.Generator().manual_seed(0)
    noise, prediction = (torch.randn(1, 4, 8, 8, generator=generator) for _ in range(2))
    latents = noise * float(sampler.initial_sigma)
    with torch.random.fork_rng(devices=[]):
        _walk(sampler, latents, prediction)


def _walk(sampler: Sampler, latents: Tensor, prediction: Tensor) -> None:
    total = len(sampler.timesteps)
    for index, timestep in enumerate(sampler.timesteps):
        failed = f"step {index + 1} of {total} fails"
        try:
            sampler.scale(latents, timestep)
            latents = sampler.step(prediction, timestep, latents)
        except Exception as error:  # an index past a table's end, a setting that the class does not implement
            advice = "choose another scheduler, or other settings or steps"
            raise StepFailure(f"{failed}, {_first_line(error)}: {advice}") from None
        if not is_finite(latents):
            advice = "choose another scheduler, or other settings or steps"
            raise StepFailure(f"{failed}, what comes of it is not finite: {advice}")


def _first_line(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [""])[0]
    return line if isinstance(error, (ValueError, NotImplementedError)) and line else f"{type(error).__name__}: {line}"
