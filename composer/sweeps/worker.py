"""Generation of one batch of jobs, in this process or on another machine: plain configs in, files and records out."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.callbacks.base import StepCallback
from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.find import find_checkpoint
from composer.checkpoints.fingerprints import file_states
from composer.checks.compatibility import Checked
from composer.config.read import with_values
from composer.config.recipes import CONFIG, STEPS, is_recipe
from composer.config.spec import ModelSpec, RunSpec
from composer.errors import ComposerError
from composer.recipes.check import CheckedRecipe
from composer.recipes.requests import CheckedSpec, Spec, check_request, read_request
from composer.sampling.embedding_cache import EmbeddingCache, use_embedding_cache
from composer.sweeps.plan import BATCH_GROWTH, BATCH_KEYS
from composer.system import interrupts
from composer.system.files import scratch_directory
from composer.system.library_logs import silence_libraries
from composer.system.memory import fits_in_memory, is_out_of_memory
from composer.system.run_lock import in_turn

if TYPE_CHECKING:
    from composer.records.result import Result

#: Configures the process of a worker; its argument is whether logs of libraries are shown.
Setup = Callable[[bool], None]


def silence_worker(verbose: bool) -> None:
    """Configure a worker of a sweep that was started from Python: no logs, warnings or advice of libraries.

    Args:
        verbose: Ignored.
    """
    silence_libraries()


@dataclass(frozen=True)
class JobOutput:
    """Output of one job.

    Attributes:
        files: Content of each file by name.
        record: Record of the run.
        has_memory_left: Whether memory suffices for a larger batch.
    """

    files: Mapping[str, bytes]
    record: Mapping[str, Any]
    has_memory_left: bool = True


class JobFailure(Exception):
    """Failure of a batch.

    Args:
        reason: The error in one line.
        memory: Whether memory ran out, so that a smaller batch may succeed.
        request: Whether the job itself is invalid.
    """

    def __init__(self, reason: str, memory: bool = False, request: bool = False) -> None:
        super().__init__(reason, memory, request)
        self.reason, self.memory, self.request = reason, memory, request


class Worker:
    """Generator of batches that caches what jobs have in common: models, checkpoint metadata and embeddings."""

    def __init__(self) -> None:
        self.memo = EmbeddingCache()
        self._last_read: tuple[str, RunSpec] | None = None

    def check(self, tree: Mapping[str, Any]) -> CheckedSpec:
        """Check a job's config against its checkpoint, without loading weights or torch.

        Args:
            tree: Config as plain data.

        Returns:
            The checked config.

        Raises:
            ComposerError: The job is invalid.
        """
        return replace(check_request(self._read(tree), cached_checkpoint), lenient=True)

    def _read(self, tree: Mapping[str, Any]) -> Spec:
        """Read a config. One that differs from the last one in nothing but prompts and seeds is read in these alone."""
        options = repr({key: None if key in BATCH_KEYS else value for key, value in tree.items()})
        if self._last_read is not None and self._last_read[0] == options:
            return with_values(self._last_read[1], {key: tree[key] for key in BATCH_KEYS if key in tree})
        spec = read_request(tree)
        if isinstance(spec, RunSpec):
            self._last_read = options, spec
        return spec

    @in_turn
    def generate(
        self,
        jobs: Sequence[CheckedSpec | Mapping[str, Any]],
        callbacks: Sequence[StepCallback] = (),
        may_grow: bool = True,
    ) -> list[JobOutput]:
        """Generate a batch of jobs that differ in nothing but prompts and seeds.

        Args:
            jobs: Checked configs, or configs as plain data.
            callbacks: Callbacks besides those of the configs.
            may_grow: Whether to measure if memory suffices for a larger batch.

        Returns:
            The output of each job.

        Raises:
            JobFailure: The batch failed. The exception keeps no tensors alive.
        """
        try:
            with use_embedding_cache(self.memo):
                checked = [self.check(job) if isinstance(job, Mapping) else job for job in jobs]
                runs = [job for job in checked if isinstance(job, Checked)]
                recipes = [recipe_output(job, callbacks) for job in checked if not isinstance(job, Checked)]
                outputs = [*recipes, *(self._generate(runs, callbacks) if runs else ())]
                has_space = not may_grow or fits_in_memory(BATCH_GROWTH)
                return outputs if has_space else [replace(output, has_memory_left=False) for output in outputs]
        except Exception as error:
            interrupts.raise_if_interrupted(error)
            failure = _failure(error)
        gc.collect()  # the error's frames referenced the tensors until here
        _free()
        raise failure

    def _generate(self, jobs: Sequence[Checked], callbacks: Sequence[StepCallback]) -> list[JobOutput]:
        from composer.pipelines.batching import run_in_batches
        from composer.pipelines.build import build_pipeline
        from composer.records.files import files_of
        from composer.records.measured import measured_run
        from composer.records.record import record

        pipeline = build_pipeline(jobs[0], callbacks)
        request = merge_requests([job.request for job in jobs])
        with scratch_directory() as temporary:
            folder = temporary() if len(jobs) == 1 and pipeline.writes_files else None
            result = run_in_batches(pipeline, jobs[0], request, folder)
            written = {} if folder is None else _contents(folder)
        outputs: list[JobOutput] = []
        begin = 0
        for job in jobs:
            part = result_of_job(result, begin, job.request, (*job.request.notes, *pipeline.notes, *result.notes))
            part = replace(part, notes=(*part.notes, *part.flag_notes))
            if len(jobs) > 1:
                part = replace(part, together=batch_context(request, begin))
            part = replace(part, record=record(job, pipeline, part))
            part = measured_run(part, job, pipeline.device)
            outputs.append(JobOutput({**written, **files_of(part.media, part.numbers, part.record)}, part.record))
            begin += job.request.batch
        return outputs


def recipe_output(checked: CheckedRecipe, callbacks: Sequence[StepCallback]) -> JobOutput:
    """Run a job that is a recipe.

    Args:
        checked: The recipe.
        callbacks: Callbacks of the sweep, which change no image.

    Returns:
        Its files, those of earlier steps in directories of their names.
    """
    from composer.recipes.run import run_recipe, runner_for
    from composer.records.result import files_of_result

    with scratch_directory() as temporary:
        folder = temporary()
        result = run_recipe(checked, folder, runner=runner_for(checked, callbacks, watching=True))
        files = _contents(folder)
    return JobOutput({**files, **files_of_result(result)}, result.record)


def drop_progress_callback(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the progress bar of single runs from a job's config; a sweep shows its own.

    Args:
        tree: Config as plain data, of a run or a recipe.

    Returns:
        A copy without the callback ``progress``.
    """
    if is_recipe(tree):
        steps = {name: {**node, CONFIG: drop_progress_callback(node[CONFIG])} for name, node in tree[STEPS].items()}
        return {**tree, STEPS: steps}
    callbacks = tree.get("callbacks") or {}
    return {**tree, "callbacks": {name: node for name, node in callbacks.items() if name != "progress"}}


def merge_requests(requests: Sequence[Request]) -> Request:
    """Merge the requests of a batch's jobs into one.

    Args:
        requests: Requests that differ in nothing but what is given per image.

    Returns:
        One request; prompts, seeds and inputs per image are concatenated.
    """
    first = requests[0]
    if len(requests) == 1:
        return first
    per_image = {key for key, value in first.inputs.items() if isinstance(value, tuple)}
    inputs = {**first.inputs, **{key: _concatenate(request.inputs[key] for request in requests) for key in per_image}}
    return replace(
        first,
        prompts=_concatenate(request.prompts for request in requests),
        negative_prompts=_concatenate(request.negative_prompts for request in requests),
        seeds=_concatenate(request.seeds for request in requests),
        inputs=inputs,
    )


def batch_context(request: Request, begin: int) -> dict[str, Any]:
    """Describe the batch that a job ran in, for its record.

    Args:
        request: Merged request of the batch.
        begin: Index of the job's first image in the batch.

    Returns:
        Plain data with that index and the prompt and seed of each image of the batch.
    """
    from composer.records.record import image_entries

    return {"begin": begin, "pictures": image_entries(request)}


def result_of_job(result: Result, begin: int, request: Request, notes: tuple[str, ...]) -> Result:
    """Extract the result of one job from that of its batch.

    Args:
        result: Result of the batch.
        begin: Index of the job's first image in the batch.
        request: Request of the job.
        notes: Notes of the job.

    Returns:
        The result of the job; the time of the batch is divided equally among its images.
    """
    end = begin + request.batch
    seconds = result.seconds * request.batch / len(result.media)
    flagged = tuple(number - begin for number in result.flagged if begin <= number < end)
    return replace(
        result, media=result.media[begin:end], seeds=request.seeds, seconds=seconds, notes=notes, flagged=flagged
    )


def is_batch_safe(checked: CheckedSpec) -> bool:
    """Test whether jobs like this one can run as one batch, with the same images as alone.

    Imports the classes that the config names, and with them torch and diffusers.

    Args:
        checked: Checked config of a job.

    Returns:
        Whether its scheduler, guidance and callbacks treat each image of a batch independently.
    """
    from composer.checkpoints.layouts import HOSTED
    from composer.pipelines.build import parts
    from composer.system.signatures import keywords_of

    if not isinstance(checked, Checked):  # a recipe runs its steps one after the other
        return False
    components: Any = parts(checked)  # schedulers, guidance and callbacks have no common type
    scheduler = components.scheduler[0]
    # these schedulers sample one noise for all images of a batch
    one_generator = scheduler.__name__ == "DPMSolverSDEScheduler" or "noise_sampler_seed" in keywords_of(
        scheduler.__init__
    )
    # chunked prompts are padded to the longest prompt of the batch
    pads_prompts = checked.spec.overflow == "chunk"
    if pads_prompts or one_generator or checked.checkpoint.family == HOSTED:
        return False
    return all(component.batch_safe for component in (components.guidance, *components.callbacks.values()))


#: Checkpoints whose metadata was read, by their config and the state of their files.
_checkpoints: dict[tuple[str, Any], Checkpoint] = {}


def cached_checkpoint(model: ModelSpec) -> Checkpoint:
    """Find a checkpoint and read its metadata; cached while its files do not change.

    Args:
        model: Config of the model.

    Returns:
        The checkpoint.

    Raises:
        ComposerError: There is no such checkpoint, or it is not supported.
    """
    sources = [part.get("source") if isinstance(part, Mapping) else part for part in model.components.values()]
    paths = [Path(source).expanduser() for source in (model.source, model.config, *sources) if source]
    key = repr(model), tuple(file_states(path) for path in paths if path.exists())
    if key not in _checkpoints:
        _checkpoints[key] = find_checkpoint(model)
    return _checkpoints[key]


def _concatenate(parts: Iterable[Sequence[Any]]) -> tuple[Any, ...]:
    return tuple(item for part in parts for item in part)


def _contents(folder: Path) -> dict[str, bytes]:
    """Files below a directory by their path in it."""
    files = sorted(Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def _failure(error: Exception) -> JobFailure:
    """An error as a line, without its frames."""
    memory = is_out_of_memory(error)
    if isinstance(error, ComposerError):
        reason, is_invalid = str(error), error.exit_code == 2
    else:
        reason, is_invalid = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}", False
    return JobFailure(f"out of memory: {reason}" if memory else reason, memory, is_invalid)


def _free() -> None:
    """Return freed memory to the accelerator."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
