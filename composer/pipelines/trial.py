"""The trial of a run without weights. What earlier trials found out is not computed again, and needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from composer.callbacks.base import StepCallback
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.layouts import HOSTED
from composer.checks.compatibility import Checked
from composer.loading.check_cache import keep, recall, recall_or
from composer.pipelines.check_facts import (
    comes_with_composer,
    device_facts,
    option_facts,
    trial_facts,
    weights_facts,
)
from composer.pipelines.known_schedules import recall_schedule
from composer.pipelines.light_parts import check_light_parts, device_is_plain, resolve_callbacks, resolve_guidance
from composer.pipelines.refusals import refusals_kept, refuse_again


def tried(checked: Checked, more: Sequence[StepCallback] = ()) -> tuple[str, ...]:
    """Try a run without weights, with models of the same layers that hold no values.

    Args:
        checked: The request with its checkpoint.
        more: Callbacks from Python, which follow those of the config.

    Returns:
        Notes: what the run would do differently from the request.

    Raises:
        ComposerError: Building or loading would be refused.
    """
    notes = _known_notes(checked, more)
    if notes is not None:
        return (*checked.request.notes, *notes)
    if not more:
        refuse_again(checked)
    with refusals_kept(checked, more):
        return (*checked.request.notes, *_try(checked, more))


def lines_of_schedule(checked: Checked) -> list[str]:
    """Describe the scheduler of a run and its timesteps.

    Args:
        checked: A request that was tried.

    Returns:
        Lines of text.
    """
    known = recall_schedule(checked)
    if known is not None:
        return list(known[1])

    def lines() -> list[str]:
        from composer.pipelines.schedule_lines import schedule_lines

        return schedule_lines(checked)

    return list(recall_or("lines", trial_facts(checked), lines))


def _known_notes(checked: Checked, more: Sequence[StepCallback]) -> list[str] | None:
    """Notes of a run whose parts all passed in earlier trials; None if one of them is new."""
    if not all(_recall("weights", facts) for facts in _weights(checked)):
        return None
    notes = _hosted_notes(checked, more) if checked.checkpoint.family == HOSTED else _native_notes(checked)
    if notes is not None:
        check_light_parts(checked, resolve_guidance(checked), resolve_callbacks(checked, more))
    return notes


def _hosted_notes(checked: Checked, more: Sequence[StepCallback]) -> list[str] | None:
    """Notes of a run of a checkpoint's own pipeline, if this very request passed."""
    notes: list[str] | None = None if more else _recall("hosted", trial_facts(checked))
    return notes


def _native_notes(checked: Checked) -> list[str] | None:
    schedule = recall_schedule(checked)
    if schedule is None:
        return None
    device = [] if device_is_plain(checked) else _recall("device", device_facts(checked))
    options = _recall("options", option_facts(checked)) if _has_options(checked) else []
    if device is None or options is None:
        return None
    return [*device, *options, *schedule[0]]


def _try(checked: Checked, more: Sequence[StepCallback]) -> tuple[str, ...]:
    """Try all of it, and keep what can be found again."""
    from composer.loading.rehearsal import rehearse
    from composer.pipelines.build import parts
    from composer.pipelines.schedules_ahead import try_schedules

    resolved, model = parts(checked, more), checked.spec.model
    rehearse(checked.checkpoint, model.variant)
    if checked.refiner is not None and model.refiner is not None:
        rehearse(checked.refiner, model.refiner.variant)
    if checked.checkpoint.family == HOSTED and not more:
        _keep("hosted", trial_facts(checked), list(resolved.notes))
    try_schedules(checked, resolved.notes_of["schedule"])
    _keep("device", device_facts(checked), list(resolved.notes_of["device"]))
    for weights in _weights(checked):
        _keep("weights", weights, True)
    if _has_options(checked):
        _keep("options", option_facts(checked), list(resolved.notes_of["options"]))
    return resolved.notes


def _weights(checked: Checked) -> list[Any]:
    """What loading the checkpoints depends on; those with a commit, and composer's, need not be tried again."""
    refiner = checked.spec.model.refiner
    candidates: list[tuple[Checkpoint | None, str | None]] = [
        (checked.checkpoint, checked.spec.model.variant), (checked.refiner, refiner.variant if refiner else None),
    ]  # fmt: skip
    return [
        weights_facts(one, variant)
        for one, variant in candidates
        if one is not None and one.commit is None and not comes_with_composer(one, variant)
    ]


def _has_options(checked: Checked) -> bool:
    spec = checked.spec
    adapters = (checked.loras, checked.embeddings, checked.controls, checked.ip_adapters)
    return any((spec.memory, spec.accel, *adapters))


def _recall(kind: str, facts: Any) -> Any:
    return None if facts is None else recall(kind, facts)


def _keep(kind: str, facts: Any, result: Any) -> None:
    if facts is not None:
        keep(kind, facts, result)
