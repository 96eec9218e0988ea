"""batch=…: the images of a run generated so many at a time, each share as a run of its own."""

from __future__ import annotations

import gc
from collections.abc import Iterator
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


def draw(pipeline: Pipeline, checked: Checked, request: Request, folder: Path | None = None) -> Result:
    """Generate a request in shares of what its config asks for; `auto` begins with what should fit and halves when
    memory runs out.

    Callbacks write into a folder for each share, named after its first image, where there are several.
    """
    size, auto = at_once(pipeline, checked, request), checked.spec.batch == "auto"
    results: list[Result] = []
    left: LeftBehind | None = None
    begin = 0
    while begin < request.batch:
        share = cut(request, begin, begin + size)
        place = folder if folder is None or share.batch == request.batch else folder / str(begin)
        try:
            results.append(pipeline(share, place))
        except LeftBehind as error:  # what was made stays; it is told once all is generated
            if error.result is None:
                raise
            left, begin = error, begin + share.batch
            results.append(error.result)
            continue
        except Exception as error:
            if not (auto and share.batch > 1 and is_out_of_memory(error)):
                raise
            size = share.batch // 2
        else:
            begin += share.batch
            continue
        gc.collect()  # the error's frames held the tensors
    made = joined(results)
    made = replace(made, notes=(*made.notes, f"batch=auto: {_counted(made.batches)}")) if auto else made
    if left is not None:
        left.result = made
        raise left
    return made


def at_once(pipeline: Pipeline, checked: Checked, request: Request) -> int:
    """Images of the first share."""
    asked = checked.spec.batch
    if asked != "auto":
        return asked or request.batch
    free = free_memory(str(pipeline.device))
    return request.batch if free is None else fitting(pipeline, checked, request.batch, free)


def fitting(pipeline: Pipeline, checked: Checked, most: int, free: int) -> int:
    """The most images that should fit into so many bytes beside the weights, which lie there already; at least one."""
    parts = tuple((name, dtype_of(model)) for name, model in pipeline.family.modules.items())
    numbers = DtypePlan(pipeline.family.dtype, parts)
    sliced, tiled = (f"memory.vae_{way}" in pipeline.options for way in ("slicing", "tiling"))
    return max(
        (size for size in range(1, most + 1) if estimate(checked, numbers, size, sliced, tiled).working <= free),
        default=1,
    )


def cut(request: Request, begin: int, end: int) -> Request:
    """Some of a request's images."""
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


def joined(results: list[Result]) -> Result:
    """What several shares made, as one."""
    if len(results) == 1:
        return results[0]
    return replace(
        results[0],
        images=[image for result in results for image in result.images],
        seeds=tuple(seed for result in results for seed in result.seeds),
        seconds=sum(result.seconds for result in results),
        notes=tuple(dict.fromkeys(note for result in results for note in result.notes)),
        flagged=tuple(_shifted(results)),
        batches=tuple(size for result in results for size in result.batches),
    )


def _counted(batches: tuple[int, ...]) -> str:
    """`8, 8, 3 images at once` in few words."""
    sizes = list(dict.fromkeys(batches))
    return f"{' then '.join(map(str, sizes))} image{'s' * (sizes != [1])} at once"


def _shifted(results: list[Result]) -> Iterator[int]:
    begin = 0
    for result in results:
        yield from (begin + number for number in result.flagged)
        begin += len(result.images)
