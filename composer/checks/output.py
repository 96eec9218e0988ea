"""The format of a run's files, which follows from what its task makes unless the user chose one."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import cast

from composer.config.spec import FormatName, RunSpec
from composer.media.formats import resolve_format
from composer.tasks.base import Task


def resolve_output(spec: RunSpec, task: Task) -> RunSpec:
    """Fill in the format of the output.

    Args:
        spec: Settings of the run.
        task: Its task.

    Returns:
        Settings with a format that holds what the task makes; their config, which is recorded, has it too.

    Raises:
        ComposerError: The user chose a format that does not, or that can't be written here.
    """
    form = resolve_format(spec.output.format, task.makes, spec.task.name)
    if form == spec.output.format:
        return spec
    config = {**spec.config, "output": {**spec.config.get("output", {}), "format": form}}
    output = replace(spec.output, format=cast("FormatName", form))  # a key of FORMATS
    return replace(spec, output=output, config=MappingProxyType(config))
