"""Regeneration of a record's images, in the batches that they were generated in."""

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

#: Threads that a record can request, at most.
MAX_THREADS = 64


@in_turn
def regenerate(record: Mapping[str, Any], replay: ReplayConfig, say: Callable[[str], None]) -> Result:
    """Generate a record's images again, or a variation of them.

    Complete batches are generated, since an image is reproduced to the last bit only among the other images of its
    batch (see docs/guides/sweeps.md).

    Args:
        record: The record.
        replay: Config to generate with.
        say: Receives one line for each note.

    Returns:
        The images, with a record that they can be regenerated from.

    Raises:
        ComposerError: The images cannot be generated on this machine, or the record contradicts itself.
    """
    spec = read(replay.tree)
    if not replay.same:
        return execute(spec, replay.folder, say)
    return regenerate_checked(record, replace(check(spec), lenient=True), replay.folder, say)


@in_turn
def regenerate_checked(
    record: Mapping[str, Any], checked: Checked, folder: Path | None, say: Callable[[str], None]
) -> Result:
    """Generate a record's images again by checked settings.

    Args:
        record: The record.
        checked: Its settings.
        folder: Directory for files of callbacks, or None.
        say: Receives one line for each note.

    Returns:
        As `regenerate`.

    Raises:
        ComposerError: As for `regenerate`.
    """
    batches = _batches(record, checked)
    from composer.pipelines.build import build_pipeline

    pipeline = build_pipeline(checked)
    for note in (*checked.request.notes, *pipeline.notes):
        say(note)
    with _recorded_threads(record):
        return _with_record(record, checked, pipeline, batches.generate(pipeline, folder))


@dataclass(frozen=True)
class _Batches:
    """The batches of a request that contain the selected images.

    Attributes:
        request: Request of all images of the batches that the job was part of.
        spans: First and end index of each batch.
        selected: Indices of the requested images.
        begin: Index of the job's first image.
    """

    request: Request
    spans: tuple[tuple[int, int], ...]
    selected: tuple[int, ...]
    begin: int

    def generate(self, pipeline: Pipeline, folder: Path | None) -> Result:
        """Generate the batches and select the images.

        Args:
            pipeline: Pipeline of the record.
            folder: Directory for files of callbacks, or None.

        Returns:
            The selected images with their seeds, flags and indices in the job.
        """
        from composer.pipelines.batching import merge_results, slice_request

        results = [pipeline(slice_request(self.request, *span), folder) for span in self.spans]
        generated = dict(
            zip(
                (i for span in self.spans for i in range(*span)),
                (medium for result in results for medium in result.media),
            )
        )
        flagged = {
            i for span, result in zip(self.spans, results) for i in (span[0] + index for index in result.flagged)
        }
        return replace(
            merge_results(results),
            media=[generated[i] for i in self.selected],
            seeds=tuple(self.request.seeds[i] for i in self.selected),
            flagged=tuple(index for index, i in enumerate(self.selected) if i in flagged),
            numbers=tuple(i - self.begin for i in self.selected),
        )


def _batches(record: Mapping[str, Any], checked: Checked) -> _Batches:
    """Determine the batches in which the requested images were generated.

    Args:
        record: The record.
        checked: The request of the job, without other jobs of its batches.

    Returns:
        The batches.

    Raises:
        ComposerError: The record contradicts itself about the number of images.
    """
    job_images, number, together = record["images"], record["number"], record.get("together")
    begin, images = (0, job_images) if together is None else (together["begin"], together["pictures"])
    request, fits = checked.request, len(images) % checked.request.batch == 0
    if (
        len(job_images) != request.batch
        or not fits
        or sum(record["batches"]) != len(images)
        or images[begin : begin + len(job_images)] != job_images
    ):
        raise ComposerError(
            "images", len(job_images), "its record does not agree with itself about how many images were generated"
        )
    request = replace(
        request,
        prompts=tuple(image["prompt"] or "" for image in images),
        negative_prompts=tuple(image["negative_prompt"] for image in images),
        seeds=tuple(image["seed"] for image in images),
        inputs={key: _repeat(value, len(images)) for key, value in request.inputs.items()},
    )
    selected = tuple(range(begin, begin + len(job_images))) if number is None else (begin + number,)
    ends = [sum(record["batches"][: i + 1]) for i in range(len(record["batches"]))]
    spans = [(end - size, end) for end, size in zip(ends, record["batches"])]
    return _Batches(
        request, tuple(span for span in spans if any(span[0] <= i < span[1] for i in selected)), selected, begin
    )


def _repeat(value: Any, batch: int) -> Any:
    """An input with one value an image, repeated for the other jobs of the batch, whose inputs are the same."""
    return value * (batch // len(value)) if isinstance(value, tuple) else value


@contextmanager
def _recorded_threads(record: Mapping[str, Any]) -> Iterator[None]:
    """Set the recorded number of threads, on which the order of additions on a CPU depends; restore it afterwards."""
    import torch

    before = torch.get_num_threads()
    if str(record["device"]).startswith("cpu"):
        torch.set_num_threads(min(max(record["threads"], 1), MAX_THREADS))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def threads_kept() -> Iterator[None]:
    """Restore torch's number of threads when the context exits.

    Yields:
        Nothing.
    """
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def _with_record(old: Mapping[str, Any], checked: Checked, pipeline: Pipeline, result: Result) -> Result:
    """Complete a result by a record that its files can be regenerated from.

    Args:
        old: Record that was regenerated.
        checked: Its request.
        pipeline: Pipeline that generated the images.
        result: The selected images.

    Returns:
        The result; its record lists all images of the job, with hashes of the pixels that were generated.
    """
    from composer.records.measured import METRICS, VALUES, measured_run
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
    result = measured_run(replace(result, record=new), checked, pipeline.device)
    for one in result.record.get(METRICS, {}).values():
        values = dict(zip(result.numbers or (), one[VALUES]))
        one[VALUES] = [values.get(i) for i in range(len(old["images"]))]
    return result
