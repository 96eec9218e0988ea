"""`compose show --json`: what `compose show` says, as plain data."""

from __future__ import annotations

from typing import Any

from composer.check import Checked, tasks_of


def facts(checked: Checked, text: str) -> dict[str, Any]:
    """Names, sizes and settings of a checked request; `text` is the page that people read."""
    spec, request, checkpoint = checked.spec, checked.request, checked.checkpoint
    return {
        "task": spec.task.path,
        "model": {
            "name": spec.model.name,
            "source": checkpoint.source,
            "family": checkpoint.family,
            "pipeline": checkpoint.pipeline,
            "prediction": checkpoint.prediction,
            "role": checkpoint.role,
            "tasks": tasks_of(checkpoint),
        },
        "precision": spec.precision.dtype,
        "device": spec.device,
        "guidance": {"class": spec.guidance.path, **spec.guidance.keywords},
        "callbacks": list(spec.callbacks),
        "memory": list(spec.memory),
        "accel": list(spec.accel),
        "components": dict(checkpoint.classes),
        "scheduler": spec.scheduler.target.path if spec.scheduler.target else checkpoint.classes.get("scheduler"),
        "images": request.batch,
        "width": request.width,
        "height": request.height,
        "seeds": list(request.seeds),
        "steps": request.steps,
        "steps_left_out": request.skip,
        "notes": list(request.notes),
        "text": text,
    }
