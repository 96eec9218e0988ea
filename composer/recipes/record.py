"""Records of recipes: that of the last run, with all steps under `recipe`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from composer.config.choices import choice
from composer.config.plugins import provider
from composer.config.recipes import RECIPE, REUSE, SETS, STEPS, TOOL
from composer.media.medium import digest
from composer.recipes.check import CheckedRecipe, CheckedTool
from composer.recipes.spec import RunSpec, StepSpec
from composer.recipes.tool_key import input_fingerprints
from composer.records.measured import METRICS
from composer.records.record import versions
from composer.records.result import Result
from composer.version import __version__

INPUTS, RECORD = "inputs", "record"


def tool_record(checked: CheckedTool, result: Result) -> dict[str, Any]:
    """Describe the run of a tool as plain data.

    Args:
        checked: The tool with its inputs.
        result: Its results.

    Returns:
        The record.
    """
    plugin = provider(checked.spec.choice.path)
    return {
        "composer": __version__,
        "choices": [choice(checked.spec.choice)],
        "inputs": input_fingerprints(checked),
        "fingerprint": checked.tool.fingerprint(),
        "pixels": [digest(medium) for medium in result.media],
        "texts": list(result.texts),
        "seconds": round(result.seconds, 3),
        "notes": list(result.notes),
        "versions": {**versions(), **({plugin.distribution: plugin.version} if plugin else {})},
        "config": dict(checked.spec.config),
    }


def with_steps(checked: CheckedRecipe, results: Mapping[str, Result]) -> Result:
    """Give the last result a record from which all steps so far can be made again.

    Args:
        checked: The recipe.
        results: Results by step, of some of the first steps.

    Returns:
        The last result. Its record is that of a run: of the last step, or if that is a tool, of the last run before it,
        with the tool's images.
    """
    last = list(results)[-1]
    steps = [step.step for step in checked.steps if step.step.name in results]
    if len(steps) == 1 or not any(isinstance(step.spec, RunSpec) for step in steps):
        return results[last]
    entries = {step.name: _entry(step, results[step.name], step.name == last) for step in steps}
    described = {RECIPE: {"name": checked.spec.name, REUSE: checked.spec.reuse, STEPS: entries}}
    run = next(step.name for step in reversed(steps) if isinstance(step.spec, RunSpec))
    if not results[last].media:  # texts, which no run's record describes
        return replace(results[last], record={**results[last].record, **described})
    record = dict(results[run].record)
    if run != last:
        record.pop(METRICS, None)  # of other images
        record |= _of_tool(results[last], results[run])
    seconds = sum(result.seconds for result in results.values())
    record |= {"seconds": round(seconds, 3), **described}
    return replace(results[last], seconds=seconds, record=record)


def _entry(step: StepSpec, result: Result, is_last: bool) -> dict[str, Any]:
    """What a record says of a step; that of the last run is the record itself."""
    entry: dict[str, Any] = {SETS: list(step.sets), INPUTS: {key: list(names) for key, names in step.sources.items()}}
    if not isinstance(step.spec, RunSpec):
        entry[TOOL] = step.spec.choice.name
    return entry if is_last and isinstance(step.spec, RunSpec) else {**entry, RECORD: dict(result.record)}


def _of_tool(result: Result, run: Result) -> dict[str, Any]:
    """What of a run's record is different when a tool has changed its images."""
    image = result.images[0]
    images = [run.record["images"][index % len(run.record["images"])] for index in range(len(result.media))]
    return {
        "width": image.width,
        "height": image.height,
        "images": images,
        "batches": [len(images)],
        **{key: result.record[key] for key in ("pixels", METRICS) if key in result.record},
    }
