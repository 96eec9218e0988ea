"""Generates a record's images again, in the batches that they were generated in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.callbacks.request import Request
from composer.checks.compatibility import Checked, check
from composer.config.read import read
from composer.errors import ComposerError
from composer.pipelines.run import execute
from composer.reruns.replay_config import ReplayConfig
from composer.system.run_lock import in_turn

if TYPE_CHECKING:
    from composer.pipelines.pipeline import Pipeline
    from composer.records.result import Result

#: More threads would only make a small machine slow.
THREADS = 64


@in_turn
def regenerate(record: Mapping[str, Any], replay: ReplayConfig, say: Callable[[str], None]) -> Result:
    """The images again, or a variation, with a record of their own.

    An image comes out the same to the last bit only among the others of its batch (see docs/guides/sweeps.md), so the whole
    batch is drawn.

    Raises:
        ComposerError: it can't be generated here, or the record contradicts itself.
    """
    spec = read(replay.tree)
    if not replay.same:
        return execute(spec, replay.folder, say)
    checked = replace(check(spec), lenient=True)
    share = _share(record, checked)
    from composer.pipelines.build import build_pipeline

    pipeline = build_pipeline(checked)
    for note in (*checked.request.notes, *pipeline.notes):
        say(note)
    with _threads(record):
        return _recorded(record, checked, pipeline, share.generate(pipeline, replay.folder))


@dataclass(frozen=True)
class _Share:
    """Of a request, the batches `spans` as (first, end), and those images of them that are wanted; `begin` is where a
    job's own begin.
    """

    request: Request
    spans: tuple[tuple[int, int], ...]
    wanted: tuple[int, ...]
    begin: int

    def generate(self, pipeline: Pipeline, folder: Path | None) -> Result:
        from composer.pipelines.batching import merge_results, slice_request

        results = [pipeline(slice_request(self.request, *span), folder) for span in self.spans]
        made = dict(
            zip(
                (i for span in self.spans for i in range(*span)),
                (medium for result in results for medium in result.media),
            )
        )
        flagged = {i for span, result in zip(self.spans, results) for i in (span[0] + each for each in result.flagged)}
        return replace(
            merge_results(results),
            media=[made[i] for i in self.wanted],
            seeds=tuple(self.request.seeds[i] for i in self.wanted),
            flagged=tuple(place for place, i in enumerate(self.wanted) if i in flagged),
            numbers=tuple(i - self.begin for i in self.wanted),
        )


def _share(record: Mapping[str, Any], checked: Checked) -> _Share:
    """The batches in which the wanted images were drawn."""
    own, number, together = record["images"], record["number"], record.get("together")
    begin, images = (0, own) if together is None else (together["begin"], together["pictures"])
    request, fits = checked.request, len(images) % checked.request.batch == 0
    if (
        len(own) != request.batch
        or not fits
        or sum(record["batches"]) != len(images)
        or images[begin : begin + len(own)] != own
    ):
        raise ComposerError(
            "images", len(own), "its record does not agree with itself about how many images were generated"
        )
    request = replace(
        request,
        prompts=tuple(each["prompt"] or "" for each in images),
        negative_prompts=tuple(each["negative_prompt"] for each in images),
        seeds=tuple(each["seed"] for each in images),
        inputs={key: _again(value, len(images)) for key, value in request.inputs.items()},
    )
    wanted = tuple(range(begin, begin + len(own))) if number is None else (begin + number,)
    ends = [sum(record["batches"][: i + 1]) for i in range(len(record["batches"]))]
    spans = [(end - size, end) for end, size in zip(ends, record["batches"])]
    return _Share(request, tuple(span for span in spans if any(span[0] <= i < span[1] for i in wanted)), wanted, begin)


def _again(value: Any, batch: int) -> Any:
    """An input given for each image, for the jobs besides, whose inputs are the same."""
    return value * (batch // len(value)) if isinstance(value, tuple) else value


@contextmanager
def _threads(record: Mapping[str, Any]) -> Iterator[None]:
    """As many as then: on a CPU they have a say in the order of sums."""
    import torch

    before = torch.get_num_threads()
    if str(record["device"]).startswith("cpu"):
        torch.set_num_threads(min(max(record["threads"], 1), THREADS))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def threads_kept() -> Iterator[None]:
    """Leave torch with as many threads as it had."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def _recorded(old: Mapping[str, Any], checked: Checked, pipeline: Pipeline, result: Result) -> Result:
    """With a record by which the files can be generated again in their turn."""
    from composer.records.record import record

    result = replace(
        result,
        notes=(*checked.request.notes, *pipeline.notes, *result.notes, *result.flag_notes),
        together=old.get("together"),
    )
    new = record(checked, pipeline, result)
    known = dict(zip(result.numbers or (), new["pixels"]))
    new |= {
        "images": old["images"],
        "batches": old["batches"],
        "pixels": [known.get(i) for i in range(len(old["images"]))],
    }
    if "media" in new:
        described = dict(zip(result.numbers or (), new["media"]))
        new["media"] = [described.get(i, before) for i, before in enumerate(old.get("media") or new["media"])]
    return replace(result, record=new)
