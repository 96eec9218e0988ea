"""Generates one batch of jobs: plain configs in, files and records out. Runs in this process or in another machine's."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.callbacks.base import StepCallback
from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.find import find_checkpoint
from composer.checkpoints.fingerprints import file_states
from composer.checks.compatibility import Checked, check
from composer.config.read import read
from composer.config.spec import ModelSpec
from composer.errors import ComposerError
from composer.sampling.embedding_cache import EmbeddingCache, use_embedding_cache
from composer.sweeps.plan import GROWTH
from composer.system import interrupts
from composer.system.files import scratch_directory
from composer.system.library_logs import silence_libraries
from composer.system.memory import fits_in_memory, is_out_of_memory
from composer.system.run_lock import in_turn

if TYPE_CHECKING:
    from composer.records.result import Result

#: Configures a worker's process, which composer owns; called with whether libraries' logs are shown.
Setup = Callable[[bool], None]


def silence_worker(verbose: bool) -> None:
    """Configure a worker of a sweep that was started from Python: no logs, warnings or advice of libraries."""
    silence_libraries()


@dataclass(frozen=True)
class JobOutput:
    """A job that is drawn. files: contents by name. room: whether a larger batch would fit into memory."""

    files: Mapping[str, bytes]
    record: Mapping[str, Any]
    room: bool = True


class JobFailure(Exception):
    """A batch could not be drawn. reason: a line. memory: whether a smaller one might. request: whether the job itself
    can't work.
    """

    def __init__(self, reason: str, memory: bool = False, request: bool = False) -> None:
        super().__init__(reason, memory, request)
        self.reason, self.memory, self.request = reason, memory, request


class Worker:
    """Keeps what jobs share: json of checkpoints, models, embeddings."""

    def __init__(self) -> None:
        self.memo = EmbeddingCache()

    def checked(self, tree: Mapping[str, Any]) -> Checked:
        """A job's config, checked against its checkpoint; no weights, no torch."""
        return replace(check(read(tree), found), lenient=True)

    @in_turn
    def draw(self, jobs: Sequence[Checked | Mapping[str, Any]], more: Sequence[StepCallback] = ()) -> list[JobOutput]:
        """Generate a batch of jobs that differ in prompts and seeds alone, each checked already or a config.

        Raises:
            Failed: with the reason; nothing of what was computed is kept alive by it.
        """
        try:
            with use_embedding_cache(self.memo):
                return self._draw([job if isinstance(job, Checked) else self.checked(job) for job in jobs], more)
        except Exception as error:
            interrupts.raise_if_interrupted(error)
            failed = _failure(error)
        gc.collect()  # the error's frames held the tensors; they are gone only now
        _free()
        raise failed

    def _draw(self, jobs: Sequence[Checked], more: Sequence[StepCallback]) -> list[JobOutput]:
        from composer.pipelines.batching import draw
        from composer.pipelines.build import build_pipeline
        from composer.records.record import record
        from composer.records.result import files_of

        pipeline = build_pipeline(jobs[0], more)
        request = joined([job.request for job in jobs])
        with scratch_directory() as temporary:
            folder = temporary() if len(jobs) == 1 else None
            result = draw(pipeline, jobs[0], request, folder)
            written = (
                {} if folder is None else {str(file.relative_to(folder)): file.read_bytes() for file in _files(folder)}
            )
        made, begin, room = [], 0, fits_in_memory(GROWTH)
        for job in jobs:
            share = part(result, begin, job.request, (*job.request.notes, *pipeline.notes, *result.notes))
            if len(jobs) > 1:
                share = replace(share, together=together(request, begin))
            share = replace(share, record=record(job, pipeline, share))
            made.append(JobOutput({**written, **files_of(share)}, share.record, room))
            begin += job.request.batch
        return made


def drop_progress_callback(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A job's config without the single run's progress bar, of which a sweep has its own."""
    callbacks = tree.get("callbacks") or {}
    return {**tree, "callbacks": {name: node for name, node in callbacks.items() if name != "progress"}}


def joined(requests: Sequence[Request]) -> Request:
    """Several requests as one; what is given for each image is put together, all else must be the same."""
    first = requests[0]
    if len(requests) == 1:
        return first
    each = {key for key, value in first.inputs.items() if isinstance(value, tuple)}
    inputs = {**first.inputs, **{key: _chained(request.inputs[key] for request in requests) for key in each}}
    return replace(
        first,
        prompts=_chained(request.prompts for request in requests),
        negative_prompts=_chained(request.negative_prompts for request in requests),
        seeds=_chained(request.seeds for request in requests),
        inputs=inputs,
    )


def together(request: Request, begin: int) -> dict[str, Any]:
    """All images that a job of several was generated with, of which its own begin at this number."""
    from composer.records.record import image_entries

    return {"begin": begin, "pictures": image_entries(request)}


def part(result: Result, begin: int, request: Request, notes: tuple[str, ...]) -> Result:
    """One job's share of what a batch made; the time is divided among the images."""
    end = begin + request.batch
    seconds = result.seconds * request.batch / len(result.images)
    flagged = tuple(number - begin for number in result.flagged if begin <= number < end)
    return replace(
        result, images=result.images[begin:end], seeds=request.seeds, seconds=seconds, notes=notes, flagged=flagged
    )


def batch_safe(checked: Checked) -> bool:
    """Whether jobs like this one can be generated as one batch, each image as it would be alone; imports what the
    config names.
    """
    import diffusers

    from composer.checkpoints.layouts import CLASSIC
    from composer.pipelines.build import parts
    from composer.system.signatures import keywords_of

    found = parts(checked)
    scheduler = found.scheduler[0]
    alone = scheduler is diffusers.DPMSolverSDEScheduler or "noise_sampler_seed" in keywords_of(
        scheduler.__init__
    )  # one noise for all
    each = (found.guidance, *found.callbacks.values())
    as_alone = checked.spec.overflow != "chunk"  # in which a prompt has as many windows as the longest beside it
    return as_alone and checked.checkpoint.family != CLASSIC and not alone and all(one.batch_safe for one in each)


#: Checkpoints whose json was read, by what they are in the config and the files that lay there.
_checkpoints: dict[tuple[str, Any], Checkpoint] = {}


def found(model: ModelSpec) -> Checkpoint:
    """A checkpoint's json, read once for as long as its files stay as they are."""
    parts = [part.get("source") if isinstance(part, Mapping) else part for part in model.components.values()]
    places = [Path(place).expanduser() for place in (model.source, model.config, *parts) if place]
    key = repr(model), tuple(file_states(place) for place in places if place.exists())
    if key not in _checkpoints:
        _checkpoints[key] = find_checkpoint(model)
    return _checkpoints[key]


def _chained(parts: Any) -> tuple[Any, ...]:
    return tuple(each for part in parts for each in part)


def _files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.rglob("*")) if file.is_file()]


def _failure(error: Exception) -> JobFailure:
    """An error as a line, without its frames."""
    memory = is_out_of_memory(error)
    own = isinstance(error, ComposerError)
    reason = str(error) if own else f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    return JobFailure(f"out of memory: {reason}" if memory else reason, memory, own and error.exit_code == 2)


def _free() -> None:
    """Give freed memory of an accelerator back."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
