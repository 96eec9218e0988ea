"""One run: check, build, call, and record. Heavy imports wait until the check has passed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from composer.callbacks.base import StepCallback
from composer.checks.compatibility import Checked, check
from composer.config.spec import RunSpec
from composer.errors import LeftBehind
from composer.pipelines.refusals import refuse_again
from composer.system import loading_line
from composer.system.library_logs import silenced_libraries
from composer.system.memory import is_out_of_memory
from composer.system.run_lock import in_turn

if TYPE_CHECKING:
    from composer.pipelines.pipeline import Pipeline
    from composer.records.result import Result


@in_turn
def execute(
    spec: RunSpec,
    folder: Path | None = None,
    say: Callable[[str], None] = lambda note: None,
    more: Sequence[StepCallback] = (),
) -> Result:
    """Run a spec.

    Args:
        spec: Everything that the run needs.
        folder: Directory that callbacks may write to; ``None`` to write nothing.
        say: Receives each note for the user as soon as it is known.
        more: Callbacks from Python, which follow those of the config.

    Returns:
        Images, notes and record.

    Raises:
        ComposerError: The run was refused, or failed.
        LeftBehind: A callback changed the models; `result` has the images and their record.
    """
    return execute_checked(check(spec), folder, say, more)


@in_turn
def execute_checked(
    checked: Checked,
    folder: Path | None = None,
    say: Callable[[str], None] = lambda note: None,
    more: Sequence[StepCallback] = (),
) -> Result:
    """Run checked settings.

    Args:
        checked: The settings.
        folder: As for `execute`.
        say: As for `execute`.
        more: As for `execute`.

    Returns:
        As `execute`.

    Raises:
        ComposerError: As for `execute`.
    """
    with silenced_libraries():
        return _execute(checked, folder, say, more)


def _execute(
    checked: Checked, folder: Path | None, say: Callable[[str], None], more: Sequence[StepCallback]
) -> Result:  # fmt: skip
    """Build and call the pipeline; once more with less memory where it ran out."""
    if not more:
        refuse_again(checked)  # before torch is imported
    from composer.pipelines.build import build_pipeline

    pipeline = build_pipeline(checked, more)
    loading_line.stop()
    for note in (*checked.request.notes, *pipeline.notes):
        say(note)
    try:
        result, left = _generate(pipeline, checked, folder)
    except Exception as error:
        sparing = save_more_memory(checked.spec) if is_out_of_memory(error) else None
        if sparing is None:
            raise
    else:
        return _record(pipeline, checked, result, left, say)
    del pipeline  # and outside of the handler, so that nothing keeps its memory
    say("memory ran out: once more, one step further")
    return execute(sparing, folder, say, more)


def _generate(pipeline: Pipeline, checked: Checked, folder: Path | None) -> tuple[Result, LeftBehind | None]:
    """The images, and an error that is raised once they are recorded."""
    from composer.pipelines.batching import run_in_batches

    try:
        return run_in_batches(pipeline, checked, checked.request, folder), None
    except LeftBehind as error:
        if error.result is None:
            raise
        return error.result, error


def _record(
    pipeline: Pipeline, checked: Checked, result: Result, left: LeftBehind | None, say: Callable[[str], None]
) -> Result:  # fmt: skip
    """Complete the notes and the record of a result."""
    from composer.records.measured import measured_run
    from composer.records.record import record

    notes = (*result.notes, *result.flag_notes)
    for note in notes:
        say(note)
    result = replace(result, notes=(*checked.request.notes, *pipeline.notes, *notes))
    result = replace(result, record=record(checked, pipeline, result))
    known, result = len(result.notes), measured_run(result, checked, pipeline.device)
    for note in result.notes[known:]:
        say(note)
    if left is not None:
        left.result = result
        raise left
    return result


def save_more_memory(spec: RunSpec) -> RunSpec | None:
    """Change ``memory=auto`` to save more memory, once.

    Args:
        spec: Spec of a run that ran out of memory.

    Returns:
        The changed spec; ``None`` if it was changed before, or does not use ``memory=auto``.
    """
    auto = spec.memory.get("auto")
    if auto is None or auto.keywords.get("further"):
        return None
    return replace(spec, memory={**spec.memory, "auto": replace(auto, keywords={**auto.keywords, "further": 1})})
