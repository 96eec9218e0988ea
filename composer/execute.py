"""One run: check, build, call, and say how it was done. Heavy imports wait until the check has passed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from composer.check import check
from composer.spec import RunSpec

if TYPE_CHECKING:
    from composer.pipeline import Result


def execute(spec: RunSpec, folder: Path | None = None) -> Result:
    """Run a spec; `folder` is where callbacks may write."""
    checked = check(spec)
    from composer.build import build_pipeline
    from composer.record import record

    pipeline = build_pipeline(checked)
    result = pipeline(checked.request, folder)
    return replace(result, record=record(checked, pipeline, result))
