"""batch=…: the images of a request generated so many at a time, each batch as a run of its own."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from composer.callbacks.request import Request
from composer.checks.compatibility import Checked
from composer.errors import LeftBehind
from composer.loading.precision import DtypePlan, dtype_of
from composer.options.memory.estimate import estimate
from composer.pipelines.pipeline import Pipeline
from composer.records.result import Result
from composer.system.memory import free_memory, is_out_of_memory


def run_in_batches(pipeline: Pipeline, checked: Checked, request: Request, folder: Path | None = None) -> Result:
    """Generate a request in batches of the configured size.

    ``batch=auto`` starts with the size that should fit, and halves it when memory runs out.

    Args:
        pipeline: Pipeline of the request.
        checked: The request with its checkpoint and config.
        request: All images, or some of them.
        folder: Directory that callbacks may write to; several batches get one directory each, named after the index of
            their first image.

    Returns:
        All images, in the order of the request.

    Raises:
        LeftBehind: A callback changed the models; `result` has all images.
    """
    size, auto = initial_batch_size(pipeline, checked, request), checked.spec.batch == "auto"
    results: list[Result] = []
    left: LeftBehind | None = None
    begin = 0
    while begin < request.batch:
        batch = slice_request(request, begin, begin + size)
        failed = False
        directory = folder if folder is None or batch.batch == request.batch else folder / str(begin)
        try:
            results.append(pipeline(batch, directory))
            begin += batch.batch
        except LeftBehind as error:  # raised once all is generated
            if error.result is None:
                raise
            left, begin = error, begin + batch.batch
            results.append(error.result)
        except Exception as error:
            if not (auto and batch.batch > 1 and is_out_of_memory(error)):
                raise
            size, failed = batch.batch // 2, True
        if failed:
            gc.collect()  # the error's frames held the tensors
    return _finish(merge_results(results), auto, left)


def _finish(result: Result, auto: bool, left: LeftBehind | None) -> Result:
    """Note the sizes that ``batch=auto`` found, and raise an error that was held back."""
    if auto:
        result = replace(result, notes=(*result.notes, f"batch=auto: {_describe_sizes(result.batches)}"))
    if left is not None:
        left.result = result
        raise left
    return result


def initial_batch_size(pipeline: Pipeline, checked: Checked, request: Request) -> int:
    """Get the number of images of the first batch.

    Args:
        pipeline: Pipeline of the request.
        checked: The request with its config.
        request: Images to generate.

    Returns:
        Number of images, at least 1.
    """
    batch = checked.spec.batch
    if isinstance(batch, int):
        return batch or request.batch
    free = free_memory(str(pipeline.device)) if batch == "auto" else None
    return request.batch if free is None else max_batch(pipeline, checked, request.batch, free)


def max_batch(pipeline: Pipeline, checked: Checked, limit: int, free_bytes: int) -> int:
    """Estimate the largest batch that fits into memory beside the weights, which are loaded already.

    Args:
        pipeline: Pipeline of the request.
        checked: The request with its checkpoint.
        limit: Largest number of images.
        free_bytes: Free memory of the device in bytes.

    Returns:
        Number of images, at least 1.
    """
    modules, default = pipeline.family.modules.items(), pipeline.family.dtype
    dtypes = DtypePlan(default, tuple((name, dtype_of(model) or default) for name, model in modules))
    sliced, tiled = (f"memory.vae_{method}" in pipeline.options for method in ("slicing", "tiling"))
    sizes = range(1, limit + 1)
    return max(
        (size for size in sizes if estimate(checked, dtypes, size, sliced, tiled).working <= free_bytes), default=1
    )


def slice_request(request: Request, begin: int, end: int) -> Request:
    """Take some of a request's images.

    Args:
        request: A request of any size.
        begin: Index of the first image.
        end: Index after the last image.

    Returns:
        A request of these images.
    """
    if request.batch <= end - begin:
        return request
    inputs = {key: value[begin:end] if isinstance(value, tuple) else value for key, value in request.inputs.items()}
    return replace(
        request,
        prompts=request.prompts[begin:end],
        negative_prompts=request.negative_prompts[begin:end],
        seeds=request.seeds[begin:end],
        inputs=inputs,
    )


def merge_results(results: Sequence[Result]) -> Result:
    """Merge the results of several batches.

    Args:
        results: At least one result.

    Returns:
        One result with all images.
    """
    if len(results) == 1:
        return results[0]
    return replace(
        results[0],
        media=[medium for result in results for medium in result.media],
        seeds=tuple(seed for result in results for seed in result.seeds),
        seconds=sum(result.seconds for result in results),
        notes=tuple(dict.fromkeys(note for result in results for note in result.notes)),
        flagged=tuple(_flagged(results)),
        batches=tuple(size for result in results for size in result.batches),
    )


def _describe_sizes(batches: tuple[int, ...]) -> str:
    """Batches of 8, 8 and 3 images in words: `8 then 3 images at once`."""
    sizes = list(dict.fromkeys(batches))
    return f"{' then '.join(map(str, sizes))} image{'s' * (sizes != [1])} at once"


def _flagged(results: Sequence[Result]) -> Iterator[int]:
    """Indices of flagged images among the images of all results."""
    begin = 0
    for result in results:
        yield from (begin + index for index in result.flagged)
        begin += len(result.media)
