"""Measuring the images of a result, and what its record says of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from statistics import fmean
from typing import TYPE_CHECKING, Any

from PIL import Image

from composer.checks.prompts import plain_prompts
from composer.config.choices import choice
from composer.config.spec import Choice
from composer.errors import ComposerError
from composer.metrics.base import Metric
from composer.records.result import Result

if TYPE_CHECKING:
    from composer.checks.compatibility import Checked

#: Keys of a record: its metrics, and of each whether higher is better, and the value of each image.
METRICS, HIGHER, VALUES = "metrics", "higher_is_better", "values"


def measured(result: Result, metrics: Mapping[str, Metric], prompts: Sequence[str], device: str) -> Result:
    """Measure the images of a result. A metric that fails costs no image: it has no value, and a note says why.

    Args:
        result: Images with their record.
        metrics: Metrics by name.
        prompts: The prompt of each image, without syntax.
        device: Name of the run's device.

    Returns:
        The result with its metrics, also in its record; itself if there are none.
    """
    if not metrics:
        return result
    notes: list[str] = []
    values = {
        name: tuple(
            _value(name, metric, image, prompt, device, notes)
            for image, prompt in zip(result.images, prompts, strict=True)
        )
        for name, metric in metrics.items()
    }
    described = {
        name: {HIGHER: metric.higher_is_better, VALUES: list(values[name])} for name, metric in metrics.items()
    }
    notes = list(dict.fromkeys((*result.notes, *notes)))
    record = {**result.record, METRICS: described, **({"notes": notes} if "notes" in result.record else {})}
    return replace(result, metrics=values, notes=tuple(notes), record=record)


def measured_run(result: Result, checked: Checked, device: object) -> Result:
    """Measure the images of a run, or of those of its images that were generated again.

    Args:
        result: Images with their record.
        checked: The run.
        device: Device that it ran on.

    Returns:
        As `measured`.
    """
    if not checked.metrics:
        return result
    prompts = plain_prompts(checked.spec, checked.request)
    some = prompts if result.numbers is None else [prompts[number] for number in result.numbers]
    return measured(result, checked.metrics, some, str(device))


def metric_keys(choices: Mapping[str, Choice], metrics: Mapping[str, Metric]) -> list[Any]:
    """Collect what determines the values of metrics, for ids of jobs.

    Args:
        choices: Options by name.
        metrics: Metrics by name.

    Returns:
        Plain data; empty without metrics.
    """
    return [[name, choice(choices[name]), metric.fingerprint()] for name, metric in metrics.items()]


def job_values(record: Mapping[str, Any]) -> dict[str, tuple[float | None, bool]]:
    """Summarise the metrics of a record.

    Args:
        record: Record of a run, from any version of composer.

    Returns:
        Metric → the mean of its values, None without any, and whether higher is better.
    """
    described = record.get(METRICS)
    result: dict[str, tuple[float | None, bool]] = {}
    for name, one in described.items() if isinstance(described, dict) else ():
        values = one.get(VALUES) if isinstance(one, dict) else None
        known = [value for value in values if isinstance(value, (int, float))] if isinstance(values, list) else []
        result[str(name)] = (fmean(known) if known else None, bool(isinstance(one, dict) and one.get(HIGHER)))
    return result


def _value(name: str, metric: Metric, image: Image.Image, prompt: str, device: str, notes: list[str]) -> float | None:
    try:
        value = float(metric.measure(image.convert("RGB"), prompt, device))
        if isfinite(value):
            return value
        reason = f"{value} is no finite number"
    except ComposerError as error:
        reason = error.reason
    except Exception as error:  # metrics of plugins may fail in any way
        reason = f"{type(error).__name__}: {error}"
    notes.append(f"metric={name} has no value: {reason}")
    return None
