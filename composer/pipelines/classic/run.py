"""A run of a pipeline that owns its loop: one call, with the callbacks around it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from composer.callbacks.base import Run, StepCallback
from composer.callbacks.overlay import Overlay
from composer.callbacks.request import Request
from composer.checks.pipeline_arguments import arguments, max_length
from composer.checks.pipeline_class import IMAGES
from composer.errors import ComposerError
from composer.families.base import DiffusersFamily
from composer.families.settings import Decoded
from composer.options.lifecycle import forget
from composer.pipelines.classic.bridge import bridge
from composer.pipelines.classic.own_pipeline import run_pipeline
from composer.pipelines.long_prompts import settle
from composer.pipelines.pipeline import Pipeline, seeded
from composer.sampling.hooks import Hooks
from composer.sampling.model_guard import Keeping, restore_after_run
from composer.sampling.non_finite import NonFinite, Watch
from composer.system.files import scratch
from composer.system.signatures import keywords_of
from composer.tasks.base import Task


class Called(DiffusersFamily):
    """The pipeline as the holder of its components; there is no seam to it."""

    @property
    def takes_guidance_scale(self) -> bool:
        config = getattr(self.denoiser, "config", {})
        return bool(config.get("guidance_embeds")) or config.get("time_cond_proj_dim") is not None

    @property
    def predictor(self) -> str:
        known = [name for name in ("unet", "transformer", "prior", "decoder") if name in self.modules]
        return (known or [*self.modules])[0]

    @property
    def reader(self) -> tuple[Any, int] | None:
        """The last of its tokenizers, which reads furthest, and as many tokens as the pipeline cuts a prompt to."""
        tokenizers = [
            part for name, part in self.pipe.components.items() if name.startswith("tokenizer") and part is not None
        ]
        length = max_length(type(self.pipe))
        if not tokenizers or length is None:
            return super().reader
        last = tokenizers[-1]
        return last, min(length, last.model_max_length)


class Classic(Pipeline):
    """A diffusers pipeline behind the same call as ours."""

    def once(self, task: Task, request: Request, folder: Path | None, notes: list[str]) -> tuple[Decoded, int]:
        shared, steps = self.family.pipe, request.steps - request.steps_skipped
        generators = tuple(torch.Generator("cpu").manual_seed(seed) for seed in request.seeds)
        scheduler = self.make_scheduler()
        callbacks = {**_overlay(request), **self.callbacks}
        hooks, known = Hooks(callbacks, steps, self.skip_on_error, notes), keywords_of(shared.__call__)
        taken = arguments(type(shared), request, self.guidance) | {"generator": list(generators)}
        taken |= {name: value for name, value in self.step_settings.items() if name in known}
        if "callback_on_step_end" in known:
            taken["callback_on_step_end"] = bridge(
                hooks, self.guidance.scale, steps, Watch(self.family.predictor, steps)
            )
        closed = dict.fromkeys(
            ("decode", "denoised", "predicted", "noised", "encode", "predict", "latent_mask", "tokens"), _not_here
        )
        settle(self.family.reader, request, self.overflow, notes.append)
        with (
            Keeping() as kept,
            seeded(request.seeds[0]),
            self.otherwise(),
            scratch() as temporary,
            restore_after_run(self.family.modules, self.callbacks, self.skip_on_error, notes, forget),
        ):
            run = Run(
                timesteps=torch.arange(steps), generators=generators, scheduler=scheduler, folder=folder, scratch=temporary,
                request=request, modules=self.family.modules, **closed,
            )  # fmt: skip
            with hooks.around(run):
                decoded = _decoded(_called(run_pipeline(shared, scheduler), taken))
                kept.made = replace(decoded, images=hooks.finish(run, decoded.images)), steps
        return kept.made


def _overlay(request: Request) -> dict[str, StepCallback]:
    """What keeps the unmasked part of an image as it was, where a task has asked for it."""
    inputs = request.inputs
    return (
        {"inpaint.overlay": Overlay(inputs["image"], inputs["mask"], inputs["blur"])}
        if inputs.get("keep_unmasked")
        else {}
    )


def _called(pipe: Any, taken: Mapping[str, Any]) -> Any:
    """Call a pipeline; numbers that are not finite would come out black, with a warning of numpy's."""
    pipe.set_progress_bar_config(disable=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "invalid value encountered in cast", RuntimeWarning)
        try:
            return pipe(**taken)
        except RuntimeWarning:
            raise NonFinite("vae", None, "its image holds numbers that are not finite (NaN or infinity)") from None


def _decoded(output: Any) -> Decoded:
    images = next((getattr(output, name) for name in IMAGES if hasattr(output, name)), None)
    if not isinstance(images, list) or not all(isinstance(image, Image.Image) for image in images):
        raise ComposerError(
            "model.source",
            None,
            f"this pipeline makes {type(output).__name__} and no images, which composer can't write",
        )
    flagged = getattr(output, "nsfw_content_detected", None) or ()
    return Decoded(images=images, flagged=tuple(bool(each) for each in flagged))


def _not_here(*_: Any) -> Any:
    raise ComposerError(
        "callbacks", None, "a pipeline without a native family can't decode, denoise or noise latents for a callback"
    )
