"""A run of a pipeline that owns its loop: one call, with the callbacks around it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

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
from composer.options.lifecycle import clear_models
from composer.pipelines.hosted.bridge import step_end_callback
from composer.pipelines.hosted.own_pipeline import run_pipeline
from composer.pipelines.long_prompts import check_prompt_length
from composer.pipelines.pipeline import PassOutcome, Pipeline, seeded
from composer.sampling.hooks import Hooks
from composer.sampling.model_guard import OutcomeKeeper, restore_after_run
from composer.sampling.non_finite import FiniteWatch, NonFinite
from composer.system.files import scratch_directory
from composer.system.signatures import keywords_of
from composer.tasks.base import Task


def unavailable(*_: object, **__: object) -> NoReturn:
    """Refuse what a pipeline does only inside of its own call.

    Args:
        *_: Ignored.
        **__: Ignored.

    Raises:
        ComposerError: Always.
    """
    reason = "a pipeline without a native family can't decode, denoise or noise latents for a callback"
    raise ComposerError("callbacks", None, reason)


class HostedModels(DiffusersFamily):
    """Models of a pipeline that is called as it is; it lends none of its methods."""

    encode = tokens = encode_image = scale_mask = start_noise = predict = decode = unavailable
    set_timesteps = staticmethod(unavailable)

    @property
    def takes_guidance_scale(self) -> bool:
        config = getattr(self.denoiser, "config", {})
        return bool(config.get("guidance_embeds")) or config.get("time_cond_proj_dim") is not None

    @property
    def denoiser_name(self) -> str:
        names = [name for name in ("unet", "transformer", "prior", "decoder") if name in self.modules]
        return names[0] if names else next(iter(self.modules))

    @property
    def prompt_tokenizer(self) -> tuple[Any, int] | None:
        """The last of its tokenizers, which reads furthest, with the pipeline's own limit."""
        components = self.pipe.components.items()
        tokenizers = [part for name, part in components if name.startswith("tokenizer") and part is not None]
        length = max_length(type(self.pipe))
        if not tokenizers or length is None:
            return super().prompt_tokenizer
        return tokenizers[-1], min(length, tokenizers[-1].model_max_length)


class Hosted(Pipeline):
    """A diffusers pipeline behind the call of `Pipeline`."""

    def run_pass(self, task: Task, request: Request, folder: Path | None, notes: list[str]) -> PassOutcome:
        modules, steps = self.family.modules, request.steps - request.steps_skipped
        generators = tuple(torch.Generator("cpu").manual_seed(seed) for seed in request.seeds)
        scheduler = self.make_scheduler()
        hooks = Hooks(
            {**_overlay(request), **self.option_callbacks(), **self.callbacks}, steps, self.skip_on_error, notes
        )
        keywords = self._keywords(request, generators, hooks)
        check_prompt_length(self.family.prompt_tokenizer, request, self.overflow, notes.append)
        with (
            OutcomeKeeper() as keeper,
            seeded(request.seeds[0]),
            self.options_active(request),
            scratch_directory() as temporary,
            restore_after_run(modules, self.callbacks, self.skip_on_error, notes, clear_models),
        ):
            run = Run(
                timesteps=torch.arange(steps), generators=generators, scheduler=scheduler, folder=folder, scratch=temporary,
                request=request, modules=modules, decode=unavailable, denoised=unavailable, predicted=unavailable,
                noised=unavailable, encode=unavailable, predict=unavailable, latent_mask=unavailable, tokens=unavailable,
            )  # fmt: skip
            with hooks.around(run):
                decoded = _decoded(_call(run_pipeline(self.family.pipe, scheduler), keywords))
                keeper.outcome = outcome = PassOutcome(replace(decoded, media=hooks.finish(run, decoded.media)), steps)
        return outcome

    def _keywords(
        self, request: Request, generators: tuple[torch.Generator, ...], hooks: Hooks
    ) -> dict[str, Any]:  # fmt: skip
        """Keywords for the call of the pipeline."""
        cls, steps = type(self.family.pipe), request.steps - request.steps_skipped
        keywords = arguments(cls, request, self.guidance) | {"generator": list(generators)}
        accepted = keywords_of(self.family.pipe.__call__)
        keywords |= {name: value for name, value in self.step_settings.items() if name in accepted}
        if "callback_on_step_end" in accepted:
            watch = FiniteWatch(self.family.denoiser_name, steps)
            keywords["callback_on_step_end"] = step_end_callback(hooks, self.guidance.scale, steps, watch)
        return keywords


def _overlay(request: Request) -> dict[str, StepCallback]:
    """The callback that keeps the unmasked part of an image, if the task sets it."""
    inputs = request.inputs
    if not inputs.get("keep_unmasked"):
        return {}
    return {"inpaint.overlay": Overlay(inputs["image"], inputs["mask"], inputs["blur"])}


def _call(pipe: Any, keywords: Mapping[str, Any]) -> Any:
    """Call a pipeline; values that are not finite would come out black, with a warning of numpy's."""
    pipe.set_progress_bar_config(disable=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "invalid value encountered in cast", RuntimeWarning)
        try:
            return pipe(**keywords)
        except RuntimeWarning:
            raise NonFinite("vae", None, "its image holds numbers that are not finite (NaN or infinity)") from None


def _decoded(output: Any) -> Decoded:
    images = next((getattr(output, name) for name in IMAGES if hasattr(output, name)), None)
    if not isinstance(images, list) or not all(isinstance(image, Image.Image) for image in images):
        reason = f"this pipeline makes {type(output).__name__} and no images, which composer can't write"
        raise ComposerError("model.source", None, reason)
    nsfw = getattr(output, "nsfw_content_detected", None) or ()
    return Decoded(media=images, flagged=tuple(bool(flag) for flag in nsfw))
