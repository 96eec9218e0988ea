"""The whole schedule of a run on next to nothing, before weights load: what fails at the last of its steps fails here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.checks.compatibility import Checked
from composer.errors import ComposerError
from composer.loading.skeleton import create_skeleton
from composer.pipelines.refined import count_base_iterations
from composer.sampling.non_finite import is_finite
from composer.sampling.sampler import Sampler
from composer.sampling.scheduler_settings import blamed
from composer.sampling.schedulers import dropped, make_scheduler
from composer.system.signatures import keywords_of

#: Words for what a model predicts where it is not the noise.
ODD = ("v_prediction", "sample")


def check_schedule(
    checked: Checked, cls: type, settings: dict[str, Any], step_settings: dict[str, Any], family: Any
) -> tuple[str, ...]:
    """Refuse a scheduler that can't lay out the request's steps, or can't walk them; what comes back are notes.

    Args:
        cls, settings, step_settings: as `scheduler_parts` gives them. family: the class, which lays out the steps.

    Raises:
        ComposerError: with the step at which it fails, and why.
    """
    checkpoint, request = checked.checkpoint, checked.request
    original, typed = original_of(checkpoint), checked.spec.scheduler.keywords
    name = checked.spec.chosen.get("scheduler") or cls.__name__
    _check_prediction(name, cls, checkpoint)

    def laid_out(some: Mapping[str, Any]) -> Any:
        scheduler = make_scheduler(cls, original, {key: some[key] for key in settings if key in some})
        family.set_timesteps(scheduler, request, checkpoint.vae_scale_factor, "cpu")
        return scheduler

    def walked(some: Mapping[str, Any]) -> None:
        of_step = {key: some[key] for key in step_settings if key in some}
        _walk(Sampler(laid_out(some), (torch.Generator().manual_seed(0),), of_step), request)

    try:
        scheduler = laid_out(settings)
    except ComposerError as error:
        raise (
            ComposerError("scheduler", name, error.reason, error.allowed) if error.key == "scheduler" else error
        ) from None
    except Exception as error:
        found = blamed(cls, typed, error, laid_out)
        raise (found if "." in found.key else _not_laid_out(name, cls, request, error)) from None
    if checked.refiner is not None:
        count_base_iterations(
            scheduler,
            scheduler.timesteps[request.steps_skipped * getattr(scheduler, "order", 1) :],
            checked.spec.model.refiner.start,
        )
    try:
        walked({**settings, **step_settings})
    except Stumbled as error:
        found = blamed(cls, typed, error, walked)
        raise (
            found if "." in found.key else ComposerError("scheduler", name, f"{cls.__name__} can't: {error}")
        ) from None
    lost = dropped(scheduler, checkpoint.classes.get("scheduler", ""))
    return (f"scheduler: {cls.__name__} has no {', '.join(lost)}, which the checkpoint's own has",) if lost else ()


class Stumbled(Exception):
    """A step can't be taken. Its text says which, and why."""


def _not_laid_out(name: str, cls: type, request: Request, error: Exception) -> ComposerError:
    fault = str(error).partition(" Make sure")[0]  # diffusers' advice may be beyond what a setting can be
    if isinstance(error, ValueError):
        return ComposerError("steps", request.steps, f"{cls.__name__} can't lay them out: {fault} Take fewer steps")
    return ComposerError("scheduler", name, f"{cls.__name__} can't lay out {request.steps} steps: {_line(error)}")


def original_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """The config of the checkpoint's scheduler as a run finds it: some pipeline classes change it."""
    pipeline = create_skeleton(checkpoint)
    return dict(checkpoint.scheduler if pipeline is None else pipeline.scheduler.config)


def _check_prediction(name: str, cls: type, checkpoint: Checkpoint) -> None:
    if checkpoint.prediction in ODD and "prediction_type" not in keywords_of(cls.__init__):
        reason = f"{cls.__name__} steps by predictions of noise alone, and this model predicts {checkpoint.prediction}: choose another"
        raise ComposerError("scheduler", name, reason)


def _walk(sampler: Sampler, request: Request) -> None:
    """Take all steps with made-up predictions; only the shapes of real ones are larger.

    Raises:
        Stumbled: at a step.
    """
    if (
        request.steps_skipped or "strength" in request.inputs
    ):  # without, schedulers look for the place of their first timestep themselves
        sampler.skip(request.steps_skipped)
    drawn, total = torch.Generator().manual_seed(0), len(sampler.timesteps)
    noise, prediction = (torch.randn(1, 4, 8, 8, generator=drawn) for _ in range(2))
    latents = noise * float(sampler.initial_sigma)
    for index, timestep in enumerate(sampler.timesteps):
        where = f"step {index + 1} of {total} fails"
        try:
            with torch.random.fork_rng(devices=[]):
                sampler.scale(latents, timestep)
                latents = sampler.step(prediction, timestep, latents)
        except Exception as error:  # an index past a table's end, a setting that the class does not implement
            raise Stumbled(f"{where}, {_line(error)}: choose another scheduler, or other settings or steps") from None
        if not is_finite(latents):
            raise Stumbled(
                f"{where}, what comes of it is not finite: choose another scheduler, or other settings or steps"
            )


def _line(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return (
        first if isinstance(error, (ValueError, NotImplementedError)) and first else f"{type(error).__name__}: {first}"
    )
