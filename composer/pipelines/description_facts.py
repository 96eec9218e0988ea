"""`compose show --json`: what `compose show` says, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from composer.checks.compatibility import Checked, tasks_of
from composer.pipelines.offers import Offers


def facts(checked: Checked, notes: Sequence[str], text: str, offers: Offers) -> dict[str, Any]:
    """Names, sizes and settings of a checked request. notes: what the run would say. text: the page that people
    read.
    """
    spec, request, checkpoint = checked.spec, checked.request, checked.checkpoint
    return {
        "task": spec.task.name,
        "model": {
            "name": spec.model.name,
            "source": checkpoint.source,
            "family": checkpoint.family,
            "pipeline": checkpoint.pipeline,
            "prediction": checkpoint.prediction,
            "role": checkpoint.role,
            "tasks": tasks_of(checkpoint),
        },
        "engine": offers.engine,
        "offers": {field.name: list(getattr(offers, field.name)) for field in fields(offers) if field.name != "engine"},
        "precision": spec.precision.dtype,
        "device": spec.device,
        "guidance": {"name": spec.guidance.name, **spec.guidance.keywords},
        "callbacks": list(spec.callbacks),
        "memory": list(spec.memory),
        "accel": list(spec.accel),
        "metric": list(spec.metrics),
        "components": dict(checkpoint.classes),
        "scheduler": spec.scheduler.target.path.rpartition(".")[2]
        if spec.scheduler.target
        else checkpoint.classes.get("scheduler"),
        "images": request.batch,
        "width": request.width,
        "height": request.height,
        **{key: request.inputs.get(key) for key in ("frames", "fps", "seconds")},
        "seeds": list(request.seeds),
        "steps": request.steps,
        "steps_left_out": request.steps_skipped,
        "notes": list(notes),
        "text": text,
    }
