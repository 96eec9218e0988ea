"""Ids of jobs that are runs or recipes."""

from __future__ import annotations

from typing import Any

from composer.checks.compatibility import Checked
from composer.recipes.check import CheckedTool
from composer.recipes.requests import CheckedSpec
from composer.recipes.tool_key import tool_key
from composer.records.job_id import hash_plain_data, job_id, job_key
from composer.records.measured import metric_keys


def request_id(checked: CheckedSpec) -> str:
    """Compute the id of a job.

    Args:
        checked: The checked settings of a run or a recipe.

    Returns:
        32 hexadecimal digits; of a recipe, they depend on all its steps and on which takes the results of which.
    """
    if isinstance(checked, Checked):
        return job_id(checked)
    steps = [
        [
            step.step.name,
            {key: list(names) for key, names in step.step.sources.items()},
            job_key(step.checked) if isinstance(step.checked, Checked) else tool_key(step.checked),
            *_metrics(step.checked),
        ]
        for step in checked.steps
    ]
    return hash_plain_data({"recipe": steps})


def _metrics(checked: Checked | CheckedTool) -> list[Any]:
    """What determines the metrics of a tool, whose stored results do not depend on them; nothing without any."""
    if isinstance(checked, Checked) or not checked.metrics:
        return []
    return [metric_keys(checked.spec.metrics, checked.metrics)]
