"""Ids of jobs that are runs or recipes."""

from __future__ import annotations

from typing import Any

from composer.checkpoints.fingerprints import image_fingerprint
from composer.checks.compatibility import Checked
from composer.config.choices import choice
from composer.recipes.check import CheckedTool
from composer.recipes.requests import CheckedSpec
from composer.records.job_id import hash_plain_data, job_id, job_key


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
        ]
        for step in checked.steps
    ]
    return hash_plain_data({"recipe": steps})


def tool_key(checked: CheckedTool) -> list[Any]:
    """Collect what determines the results of a tool.

    Args:
        checked: The tool with its images.

    Returns:
        Plain data.
    """
    images = {key: [image_fingerprint(image) for image in several] for key, several in checked.images.items()}
    return [choice(checked.spec.choice), images, checked.tool.fingerprint(), checked.spec.output.format == "jpeg"]
