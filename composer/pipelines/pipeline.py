"""One request through the parts: encode, start, denoise, decode."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from composer.callbacks.base import Conditioning, Run, Step, StepCallback
from composer.callbacks.request import Request
from composer.errors import LeftBehind
from composer.families.base import Family
from composer.families.settings import Decoded
from composer.families.weighted import encode_prompts, plain_request, plain_texts, split_windows
from composer.options.base import ModelOption, embedding_key
from composer.options.lifecycle import apply_options, clear_models
from composer.pipelines.long_prompts import check_prompt_length
from composer.records.result import Result
from composer.sampling.embedding_cache import cached, model_id, model_state, options_scope
from composer.sampling.guidance import Guidance
from composer.sampling.hooks import Hooks
from composer.sampling.loop import denoise
from composer.sampling.model_guard import OutcomeKeeper, restore_after_run
from composer.sampling.non_finite import FiniteWatch, advise_precision, check_finite
from composer.sampling.sampler import Sampler
from composer.sampling.schedulers import effective_settings
from composer.system.files import scratch_directory
from composer.system.run_lock import in_turn
from composer.tasks.base import Start, Task


class PassOutcome(NamedTuple):
    """The result of one pass.

    Attributes:
        decoded: Images, clips or sounds, with flags and notes of decoding.
        iterations: Iterations of the denoising loop.
        findings: What was learnt of a hosted pipeline, as plain data; ``None`` for a native one.
    """

    decoded: Decoded
    iterations: int
    findings: Mapping[str, Any] | None = None


class Denoised(NamedTuple):
    """Latents at the end of a pass, while its callbacks are still active.

    Attributes:
        hooks: Callbacks of the pass.
        run: What the callbacks see of the pass.
        latents: The last latents, in the model's layout.
    """

    hooks: Hooks
    run: Run
    latents: Tensor


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A family, a task, a scheduler, guidance and callbacks. Call it with requests.

    Nothing is set on a pipeline after construction; a run returns its notes in its result.

    Attributes:
        family: Models and their layout.
        task: The task of a request's first pass.
        make_scheduler: Returns a fresh diffusers scheduler.
        guidance: Combines the branches of a prediction.
        step_settings: Keywords for the scheduler's `step`.
        callbacks: Callbacks by name, in the order of their calls.
        notes: Notes for the user about how the pipeline was built.
        skip_on_error: Names of callbacks that are skipped for the rest of a run when they fail.
        options: Options that change the models, by ``group.name``, active during each run.
        device: Device that the models compute on.
        overflow: ``"warn"``, ``"error"`` or ``"chunk"``, for prompts longer than the text encoder reads.
    """

    family: Family
    task: Task
    make_scheduler: Callable[[], Any]
    guidance: Guidance
    step_settings: Mapping[str, Any] = field(default_factory=dict)
    callbacks: Mapping[str, StepCallback] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    skip_on_error: frozenset[str] = frozenset()
    options: Mapping[str, ModelOption] = field(default_factory=dict)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    overflow: str = "warn"

    @property
    def writes_files(self) -> bool:
        """Whether callbacks or options are active, which may write to the directory of a run."""
        return bool(self.callbacks or self.options)

    @property
    def scheduler(self) -> dict[str, Any]:
        """Class of the scheduler that runs get, under ``"class"``, and all settings that the class takes."""
        scheduler = self.make_scheduler()
        return {"class": type(scheduler).__name__, **effective_settings(scheduler)}

    @in_turn
    @torch.no_grad()
    def __call__(self, request: Request, folder: Path | None = None) -> Result:
        """Generate the images of a request.

        Args:
            request: Prompts, seeds, steps and sizes.
            folder: Directory that callbacks may write to, made if needed; ``None`` to write nothing.

        Returns:
            Images in the order of the request's seeds, and notes.

        Raises:
            CallbackError: A callback failed.
            LeftBehind: A callback changed the models; its `result` has the images, if there are any.
            NonFinite: A model computed NaN or infinity.
        """
        started, outcome, iterations = time.perf_counter(), PassOutcome(Decoded(media=[]), 0), 0
        notes: list[str] = []
        left: LeftBehind | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        pending: tuple[Task, Request] | None = (self.task, request)
        while pending is not None:
            task, request = pending
            outcome, error = self._try_pass(task, request, folder, notes)
            iterations, left = iterations + outcome.iterations, error or left
            pending = task.next_pass(request, outcome.decoded.images)
        decoded = outcome.decoded
        result = Result(
            media=list(decoded.media), seeds=request.seeds, seconds=time.perf_counter() - started,
            iterations=iterations,
            notes=tuple(notes),
            flagged=tuple(index for index, flag in enumerate(decoded.flagged) if flag), batches=(request.batch,),
            findings=outcome.findings,
        )  # fmt: skip
        if left is not None:
            left.result = result
            raise left
        return result

    def _try_pass(
        self, task: Task, request: Request, folder: Path | None, notes: list[str]
    ) -> tuple[PassOutcome, LeftBehind | None]:
        """One pass; an error that comes with an outcome is raised once all passes are done."""
        try:
            with advise_precision(self.family.modules):
                return self.run_pass(task, request, folder, notes), None
        except LeftBehind as error:
            if error.outcome is None:
                raise
            return error.outcome, error

    def run_pass(self, task: Task, request: Request, folder: Path | None, notes: list[str]) -> PassOutcome:
        """Run one pass of a request.

        Args:
            task: Task of the pass.
            request: Prompts, seeds, steps and sizes of the pass.
            folder: Directory that callbacks may write to, or ``None``.
            notes: Receives notes for the user.

        Returns:
            Images of the pass and its number of iterations.
        """
        with OutcomeKeeper() as keeper, self.denoise_to_latents(task, request, folder, notes) as denoised:
            keeper.outcome = outcome = self.decode_images(denoised, notes)
        return outcome

    def decode_images(self, denoised: Denoised, notes: list[str]) -> PassOutcome:
        """Decode the latents of a pass and call `after_decode`.

        Args:
            denoised: Latents and callbacks. Images that callbacks decode themselves are neither flagged nor noted.
            notes: Receives notes for the user.

        Returns:
            Images of the pass and its number of iterations.
        """
        hooks, run, latents = denoised
        decoded = self.family.decode_result(latents, run.request, run.generators)
        notes.extend(decoded.notes)
        return PassOutcome(replace(decoded, media=hooks.finish(run, decoded.media)), len(run.timesteps))

    @contextmanager
    def denoise_to_latents(
        self, task: Task, request: Request, folder: Path | None, notes: list[str]
    ) -> Iterator[Denoised]:
        """Run one pass up to its latents.

        Args:
            task: Task of the pass.
            request: Prompts, seeds, steps and sizes of the pass.
            folder: Directory that callbacks may write to, or ``None``.
            notes: Receives notes for the user.

        Yields:
            The last latents, while callbacks and options are still active.
        """
        with seeded(request.seeds[0]), self.options_active(request):
            for window in split_windows(self.family, request):
                plain = plain_request(self.family, window)
                check_prompt_length(self.family.prompt_tokenizer, plain, self.overflow, notes.append)
            conditioning = self._conditioning(request)
            sampler = self._sampler(request)
            start = task.start(self.family, sampler, request)
            check_finite("vae", "the encoded image", start.latents)
            callbacks = {**start.callbacks, **self.family.callbacks(request)}
            callbacks |= {**self.option_callbacks(), **self.callbacks}
            modules = self.family.modules
            with (
                scratch_directory() as temporary,
                restore_after_run(modules, callbacks, self.skip_on_error, notes, clear_models),
            ):
                run = self._run(request, sampler, folder, temporary)
                hooks = Hooks(callbacks, len(run.timesteps), self.skip_on_error, notes)
                with hooks.around(run):
                    latents = self._denoise(request, sampler, start, conditioning, hooks)
                    yield Denoised(hooks, run, latents)

    @contextmanager
    def options_active(self, request: Request) -> Iterator[None]:
        """Activate all options that change the models.

        Args:
            request: Request of the pass.

        Yields:
            Nothing.
        """
        apply_options(self.family.pipe, self.options, self.device)
        with options_scope(embedding_key(self.options)), ExitStack() as stack:
            for option in self.options.values():
                stack.enter_context(option.active_for(self.family.pipe, request))
            yield

    def option_callbacks(self) -> dict[str, StepCallback]:
        """Collect the callbacks that options bring, by name."""
        return {name: callback for option in self.options.values() for name, callback in option.callbacks().items()}

    def _sampler(self, request: Request) -> Sampler:
        generators = tuple(torch.Generator("cpu").manual_seed(seed) for seed in request.seeds)
        scheduler = self.make_scheduler()
        self.family.set_timesteps(scheduler, request, self.family.vae_scale_factor, self.family.device)
        return Sampler(scheduler, generators, self.step_settings)

    def _denoise(
        self, request: Request, sampler: Sampler, start: Start, conditioning: Conditioning, hooks: Hooks
    ) -> Tensor:
        family, guidance = self.family, self.guidance.for_run(self.family.denoiser)
        watch = FiniteWatch(family.denoiser_name, len(sampler.timesteps))
        inputs, canvas = start.inputs, family.canvas(request)
        latents = denoise(
            sampler, start.latents, conditioning, family.predict, guidance, hooks, inputs, canvas, watch
        )  # fmt: skip
        watch.flush()
        return latents

    def _run(self, request: Request, sampler: Sampler, folder: Path | None, temporary: Callable[[], Path]) -> Run:
        """What callbacks see of a pass."""
        family = self.family
        return Run(
            timesteps=sampler.timesteps, generators=sampler.generators, scheduler=sampler.scheduler, folder=folder,
            scratch=temporary,
            decode=lambda latents: list(family.decode(latents, request).media), denoised=sampler.denoised,
            predicted=sampler.predicted, noised=sampler.noised, encode=partial(self._encode, request),
            tokens=self._tokens,
            request=request, predict=partial(self._predict, self.guidance.for_run(family.denoiser), sampler),
            latent_mask=family.scale_mask, modules=family.modules,
        )  # fmt: skip

    def _predict(self, guidance: Guidance, sampler: Sampler, step: Step) -> Tensor:
        """A step's guided prediction, for callbacks."""
        scaled = replace(step, model_input=sampler.scale(step.latents, step.timestep))
        return guidance.prediction(scaled, self.family.predict)

    def _encode(self, request: Request, prompts: Sequence[str], negatives: Sequence[str | None]) -> Conditioning:
        """Conditioning of other texts for the same images, for callbacks."""
        return self._conditioning(replace(request, prompts=tuple(prompts), negative_prompts=tuple(negatives)))

    def _tokens(self, prompt: str) -> list[str]:
        """Tokens of a prompt without its syntax, for callbacks."""
        return [token for text in plain_texts(self.family, prompt) for token in self.family.tokens(text)]

    def _conditioning(self, request: Request) -> Conditioning:
        """Embeddings of the request's texts, for images of its size."""
        family, use_negative = self.family, self.guidance.do_classifier_free_guidance
        encoders = [model for name, model in family.modules.items() if name.startswith("text_encoder")]

        def key() -> Hashable:
            size = request.height, request.width, type(family).__name__, model_id(family.denoiser)
            texts = request.prompts, request.negative_prompts, use_negative, family.settings
            return *texts, *size, family.conditioned_by(request), *map(model_state, encoders[1:])

        conditioning = cached(next(iter(encoders), None), key, lambda: encode_prompts(family, request, use_negative))
        for embedding in filter(None, (conditioning.positive, conditioning.negative)):
            check_finite("text_encoder", "the encoded prompt", embedding.hidden, embedding.pooled)
        for option in self.options.values():
            conditioning = option.condition(family.pipe, conditioning, request)
        return conditioning


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator, for callbacks and schedulers that sample from it, and restore it afterwards.

    Args:
        seed: In `[0, 2^64)`.

    Yields:
        Nothing.
    """
    with torch.random.fork_rng():
        if torch.accelerator.is_available():
            torch.manual_seed(seed)
        else:  # otherwise torch records the call, with its stack, for each kind of accelerator that might appear
            torch.default_generator.manual_seed(seed)
        yield
