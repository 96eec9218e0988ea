"""Any other diffusers pipeline, called as it is: the door for checkpoints that no family knows.

The classic pipeline owns its loop, so callbacks see only what it hands out: the latents after a step, and the pictures.
What can't be passed on is refused before the weights are loaded.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from composer.callbacks.base import Conditioning, Run, Step, StepCallback, StopDenoising
from composer.callbacks.progress import Progress
from composer.errors import ComposerError
from composer.families.base import Held
from composer.families.settings import Decoded
from composer.files import scratch
from composer.finite import ADVICE, NonFinite, Watch
from composer.guidance import ClassifierFree, Distilled, Guidance
from composer.hooks import MOMENTS, Hooks, overrides
from composer.overflow import settle
from composer.pipeline import Pipeline, seeded
from composer.residue import untouched
from composer.run_pipeline import run_pipeline
from composer.spec import Request
from composer.targets import keywords_of
from composer.tasks.base import Task
from composer.weights import forget

#: Request input → the name that diffusers' pipelines give it.
NAMES = {"image": "image", "mask": "mask_image", "strength": "strength", "depth": "depth_map"}
#: Moments that a pipeline with `callback_on_step_end` can offer.
OFFERED = ("after_step", "after_decode")


class Called(Held):
    """The pipeline as the holder of its components; there is no seam to it."""

    embeds_scale = False

    @staticmethod
    def set_timesteps(scheduler: Any, request: Request, factor: int, device: torch.device | str) -> None:
        scheduler.set_timesteps(request.steps, device=device)


class Classic(Pipeline):
    """A diffusers pipeline behind the same call as ours."""

    def once(self, task: Task, request: Request, folder: Path | None, notes: list[str]) -> tuple[Decoded, int]:
        shared, steps = self.family.holder, request.steps - request.skip
        generators = tuple(torch.Generator("cpu").manual_seed(seed) for seed in request.seeds)
        scheduler = self.make_scheduler()
        hooks, known = Hooks(self.callbacks, steps, self.skipping, notes), keywords_of(shared.__call__)
        taken = arguments(type(shared), request, self.guidance) | {"generator": list(generators)}
        taken |= {name: value for name, value in self.step_settings.items() if name in known}
        if "callback_on_step_end" in known:
            taken["callback_on_step_end"] = _bridge(hooks, self.guidance.scale, steps, Watch("denoiser", steps))
        closed = dict.fromkeys(("decode", "denoised", "predicted", "noised", "encode", "predict", "latent_mask", "tokens"), _not_here)
        settle(self.family.reader, request, self.overflow, notes.append)
        with (
            seeded(request.seeds[0]),
            self.otherwise(),
            scratch() as temporary,
            untouched(self.family.modules, self.callbacks, self.skipping, notes, forget),
        ):
            run = Run(
                timesteps=torch.arange(steps), generators=generators, scheduler=scheduler, folder=folder, scratch=temporary,
                request=request, modules=self.family.modules, **closed,
            )  # fmt: skip
            with hooks.around(run):
                decoded = _decoded(_called(run_pipeline(shared, scheduler), taken))
                return replace(decoded, images=hooks.finish(run, decoded.images)), steps


def _called(pipe: Any, taken: Mapping[str, Any]) -> Any:
    """Call a pipeline; numbers that are not finite would come out black, with a warning of numpy's."""
    pipe.set_progress_bar_config(disable=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "invalid value encountered in cast", RuntimeWarning)
        try:
            return pipe(**taken)
        except RuntimeWarning:
            raise NonFinite(
                "vae", None, f"its picture holds numbers that are not finite (NaN or infinity): {ADVICE.format(name='vae')}"
            ) from None


def check(pipeline: type, request: Request, guidance: Guidance, callbacks: Mapping[str, StepCallback]) -> None:
    """Refuse what this pipeline class can't take.

    Raises:
        ComposerError: an input that it does not know, one that it needs and no task has, or a callback that wants more.
    """
    name, taken = pipeline.__name__, keywords_of(pipeline.__call__)
    for key in request.inputs:
        if key in ("image", "mask", "depth") and request.inputs[key] is not None and NAMES[key] not in taken:
            raise ComposerError("task", None, f"{name} takes no {NAMES[key]}: choose a task without {key}")
    given = arguments(pipeline, request, guidance)
    for parameter in inspect.signature(pipeline.__call__).parameters.values():
        needed = parameter.default is inspect.Parameter.empty and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        if needed and parameter.name not in ("self", *given):
            raise ComposerError("task", None, f"{name} needs {parameter.name}, which this task does not give")
    if "prompt" not in taken and any(request.prompts):
        raise ComposerError("prompt", request.prompts[0], f"{name} takes no prompt")
    offered = OFFERED if "callback_on_step_end" in taken else OFFERED[1:]
    for key, callback in callbacks.items():
        wants = [moment for moment in MOMENTS if overrides(callback, moment) and moment not in offered]
        if wants and not isinstance(callback, Progress):  # which merely shows nothing
            reason = f"wants {', '.join(wants)}, and {name} is no native family: it offers {' and '.join(offered)}"
            raise ComposerError(f"callbacks.{key}", None, reason)


def arguments(pipeline: type, request: Request, guidance: Guidance) -> dict[str, Any]:
    """What the pipeline's `__call__` is given, of all that a request holds."""
    offered = {
        "prompt": list(request.prompts),
        "negative_prompt": [text or "" for text in request.negative_prompts],
        "batch_size": request.batch,
        "num_inference_steps": request.steps,
        "height": request.height,
        "width": request.width,
        "guidance_scale": guidance.embedded if isinstance(guidance, Distilled) else guidance.scale,
        **{NAMES[key]: _listed(value) for key, value in request.inputs.items() if key in NAMES and value is not None},
    }
    if isinstance(guidance, ClassifierFree) and guidance.rescale:
        offered["guidance_rescale"] = guidance.rescale
    taken = keywords_of(pipeline.__call__)
    return {name: value for name, value in offered.items() if name in taken}


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _bridge(hooks: Hooks, scale: float, total: int, watch: Watch) -> Callable[..., dict[str, Tensor]]:
    """`callback_on_step_end` of diffusers → `after_step` of ours; the step's own latents are those after it."""
    stopped: list[Tensor] = []

    def after(pipeline: Any, index: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        latents = tensors["latents"]
        watch(index, latents, latents)
        if stopped:  # not every pipeline can be interrupted: the others go on, but to no effect
            return {"latents": stopped[0]}
        step = Step(
            index=index, total=total, timestep=torch.as_tensor(timestep), sigma=None, latents=latents, model_input=latents,
            conditioning=Conditioning(positive=None), guidance_scale=scale,
        )  # fmt: skip
        try:
            return {"latents": hooks.edit("after_step", step, latents)}
        except StopDenoising as stop:
            pipeline._interrupt = True
            stopped.append(latents if stop.latents is None else stop.latents)
            return {"latents": stopped[0]}

    return after


def _decoded(output: Any) -> Decoded:
    images = getattr(output, "images", None)
    if not isinstance(images, list) or not all(isinstance(image, Image.Image) for image in images):
        raise ComposerError(
            "model.source", None, f"this pipeline makes {type(output).__name__} and no pictures, which composer can't write"
        )
    flagged = getattr(output, "nsfw_content_detected", None) or ()
    return Decoded(images=images, flagged=tuple(bool(each) for each in flagged))


def _not_here(*_: Any) -> Any:
    raise ComposerError("callbacks", None, "a pipeline without a native family can't decode, denoise or noise latents for a callback")
