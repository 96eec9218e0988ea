"""encode → start → denoise → decode: one request through the parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from composer.callbacks.base import Conditioning, Run, Step, StepCallback
from composer.callbacks.request import Request
from composer.errors import LeftBehind
from composer.families.base import Family
from composer.families.settings import Decoded
from composer.options.base import ModelOption, options_key
from composer.options.lifecycle import fit, forget
from composer.pipelines.long_prompts import settle
from composer.records.result import Result
from composer.sampling.embedding_cache import number_of, remember, running, state_of
from composer.sampling.guidance import Guidance
from composer.sampling.hooks import Hooks
from composer.sampling.loop import denoise
from composer.sampling.model_guard import Keeping, restore_after_run
from composer.sampling.non_finite import Watch, advised, check
from composer.sampling.sampler import Sampler
from composer.system.files import scratch
from composer.system.run_lock import in_turn
from composer.tasks.base import Task


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A family, a task, a scheduler, guidance and callbacks; call it with requests.

    notes: what the user should know of how it was built. skipping: callbacks that are left out when they fail. options:
    other ways
    to run the models, by `group.name`, on during each run. device: where they compute. overflow: what becomes of
    prompts that are
    too long.
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

    @cached_property
    def scheduler(self) -> dict[str, Any]:
        """The class of the schedulers that runs get, and all settings that it takes."""
        from composer.sampling.schedulers import taken

        made = self.make_scheduler()
        return {"class": type(made).__name__, **taken(made)}

    @in_turn
    @torch.no_grad()
    def __call__(self, request: Request, folder: Path | None = None) -> Result:
        started, task, following = time.perf_counter(), self.task, (self.task, request)
        steps: list[int] = []
        notes: list[str] = []
        left: LeftBehind | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        while following is not None:
            task, request = following
            try:
                with advised(self.family.modules):
                    decoded, iterations = self.once(task, request, folder, notes)
            except LeftBehind as error:
                if error.made is None:
                    raise
                left, (decoded, iterations) = error, error.made
            steps.append(iterations)
            following = task.following(request, decoded.images)
        result = Result(
            images=decoded.images, seeds=request.seeds, seconds=time.perf_counter() - started, iterations=sum(steps), notes=tuple(notes),
            flagged=tuple(number for number, flag in enumerate(decoded.flagged) if flag), batches=(request.batch,),
        )  # fmt: skip
        if left is not None:
            left.result = result
            raise left
        return result

    def once(self, task: Task, request: Request, folder: Path | None, notes: list[str]) -> tuple[Decoded, int]:
        """One pass: its images and the iterations they took. notes: gets what the user should know of it."""
        with Keeping() as kept, self.denoised(task, request, folder, notes) as (hooks, run, latents):
            kept.made = self.finished(hooks, run, latents, notes), len(run.timesteps)
        return kept.made

    def finished(self, hooks: Hooks, run: Run, latents: Tensor, notes: list[str]) -> Decoded:
        """The images of a pass; what callbacks decode themselves has no say in what is noted."""
        decoded = self.family.decode(latents, run.request)
        notes.extend(decoded.notes)
        return replace(decoded, images=hooks.finish(run, decoded.images))

    @contextmanager
    def denoised(
        self, task: Task, request: Request, folder: Path | None, notes: list[str]
    ) -> Iterator[tuple[Hooks, Run, Tensor]]:
        """One pass up to its latents, with the callbacks still around it."""
        generators = tuple(torch.Generator("cpu").manual_seed(seed) for seed in request.seeds)
        with seeded(request.seeds[0]), self.otherwise():
            settle(self.family.reader, request, self.overflow, notes.append)
            conditioning = self._conditioning(request)
            scheduler = self.make_scheduler()
            self.family.set_timesteps(scheduler, request, self.family.factor, self.family.device)
            sampler = Sampler(scheduler, generators, self.step_settings)
            start = task.start(self.family, sampler, request)
            check("vae", "the encoded image", start.latents)
            callbacks, denoiser = {**start.callbacks, **self.callbacks}, self.family.denoiser
            with (
                scratch() as temporary,
                restore_after_run(self.family.modules, callbacks, self.skip_on_error, notes, forget),
            ):
                run = Run(
                    timesteps=sampler.timesteps, generators=generators, scheduler=scheduler, folder=folder, scratch=temporary,
                    decode=lambda latents: self.family.decode(latents, request).images, denoised=sampler.denoised,
                    predicted=sampler.predicted, noised=sampler.noised,
                    encode=partial(self._encode, request), tokens=self.family.tokens, request=request,
                    predict=partial(self._predict, self.guidance.for_run(denoiser), sampler), latent_mask=self.family.scale_mask,
                    modules=self.family.modules,
                )  # fmt: skip
                hooks = Hooks(callbacks, len(run.timesteps), self.skip_on_error, notes)
                guidance = self.guidance.for_run(denoiser)
                with hooks.around(run):
                    watch = Watch(self.family.predictor, len(run.timesteps))
                    latents = denoise(
                        sampler, start.latents, conditioning, self.family.predict, guidance, hooks, start.inputs, watch
                    )
                    watch.settle()
                    yield hooks, run, latents

    @contextmanager
    def otherwise(self) -> Iterator[None]:
        """All options of memory and acceleration on."""
        fit(self.family.pipe, self.options, self.device)
        with running(options_key(self.options)), ExitStack() as stack:
            for option in self.options.values():
                stack.enter_context(option.on(self.family.pipe))
            yield

    def _predict(self, guidance: Guidance, sampler: Sampler, step: Step) -> Tensor:
        """A step's guided prediction, for callbacks."""
        scaled = replace(step, model_input=sampler.scale(step.latents, step.timestep))
        return guidance.prediction(scaled, self.family.predict)

    def _encode(self, request: Request, prompts: Sequence[str], negatives: Sequence[str | None]) -> Conditioning:
        """Other texts for the same images."""
        return self._conditioning(replace(request, prompts=tuple(prompts), negative_prompts=tuple(negatives)))

    def _conditioning(self, request: Request) -> Conditioning:
        """Embeddings of the request's texts, for images of its size."""
        modules, contrast = self.family.modules, self.guidance.contrast
        encoders = [each for name, each in modules.items() if name.startswith("text_encoder")]

        def key() -> Hashable:
            size = request.height, request.width, type(self.family).__name__, number_of(self.family.denoiser)
            texts = request.prompts, request.negative_prompts, contrast, self.family.settings
            return *texts, *size, *map(state_of, encoders)

        made = remember(next(iter(encoders), None), key, lambda: self.family.encode(request, contrast))
        for embedding in filter(None, (made.positive, made.negative)):
            check("text_encoder", "the encoded prompt", embedding.hidden, embedding.pooled)
        return made


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Tie torch's global generator to the seed, for callbacks and schedulers that generate from it, and restore it
    afterwards.
    """
    with torch.random.fork_rng():
        if torch.accelerator.is_available():
            torch.manual_seed(seed)
        else:  # else torch takes a note, with its stack, for each kind of accelerator that might appear
            torch.default_generator.manual_seed(seed)
        yield
