"""One run: check, build, call, and say how it was done. Heavy imports wait until the check has passed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from composer.callbacks.base import StepCallback
from composer.checks.compatibility import Checked, check
from composer.config.spec import RunSpec
from composer.errors import LeftBehind
from composer.system import loading_line
from composer.system.library_logs import silenced_libraries
from composer.system.memory import is_out_of_memory
from composer.system.run_lock import in_turn

if TYPE_CHECKING:
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
        folder: where callbacks may write.
        say: tells the user what was done otherwise than asked.
        more: callbacks beside those of the config.

    Raises:
        LeftBehind: a callback left something on the models; `result` holds what was made all the same.
    """
    checked = check(spec)
    with silenced_libraries():
        return _executed(spec, checked, folder, say, more)


def _executed(
    spec: RunSpec, checked: Checked, folder: Path | None, say: Callable[[str], None], more: Sequence[StepCallback]
) -> Result:  # fmt: skip
    """The part that takes its time."""
    from composer.pipelines.batching import draw
    from composer.pipelines.build import build_pipeline
    from composer.records.record import record

    pipeline = build_pipeline(checked, more)
    loading_line.stop()
    before = (*checked.request.notes, *pipeline.notes)
    for note in before:
        say(note)
    left: LeftBehind | None = None
    try:
        try:
            result = draw(pipeline, checked, checked.request, folder)
        except LeftBehind as error:
            if error.result is None:
                raise
            left, result = error, error.result
    except Exception as error:
        sparing = further(spec) if is_out_of_memory(error) else None
        if sparing is None:
            raise
    else:
        for note in result.told:
            say(note)
        result = replace(result, notes=(*before, *result.notes))
        result = replace(result, record=record(checked, pipeline, result))
        if left is not None:
            left.result = result
            raise left
        return result
    del pipeline  # and out of the handler, so that nothing holds what it had taken
    say("memory ran out: once more, one step further")
    return execute(sparing, folder, say, more)


def further(spec: RunSpec) -> RunSpec | None:
    """The same run with `memory=auto` one step more sparing than before, once; None where that was not asked for."""
    auto = spec.memory.get("auto")
    if auto is None or auto.keywords.get("further"):
        return None
    return replace(spec, memory={**spec.memory, "auto": replace(auto, keywords={**auto.keywords, "further": 1})})
