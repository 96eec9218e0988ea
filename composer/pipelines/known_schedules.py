"""Schedules that were tried before, with the step counts that passed. Imports no torch.

Whether a scheduler can lay out and take its steps is found out by taking them. A trial imports torch, which takes
seconds, and takes 20 steps in milliseconds; so the first trial of a schedule takes other step counts along.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from composer.checks.compatibility import Checked
from composer.loading.check_cache import keep, recall
from composer.pipelines.check_facts import schedule_facts

#: Step counts that are tried with the first one, those that people choose most often first.
USUAL = (20, 25, 30, 50, 10, 8, 4, 28, 40, 12, 15, 35)
MOST = 50


@dataclass(frozen=True)
class KnownSchedule:
    """What trials of a schedule found out.

    Attributes:
        settings: Lines of `compose show` on the scheduler's settings.
        passed: Number of steps, and how many of them are skipped → line of `compose show` on them; these passed.
        notes: Notes about settings of the checkpoint.
    """

    settings: Sequence[str]
    passed: Mapping[tuple[int, int], str]
    notes: Sequence[str]


def recall_schedule(checked: Checked) -> tuple[tuple[str, ...], Sequence[str]] | None:
    """Find the results of an earlier trial.

    Args:
        checked: The request with its checkpoint.

    Returns:
        Notes, and the lines of `compose show`; None if this schedule was not tried with these steps, or failed.
    """
    known = _recall(schedule_facts(checked))
    request = checked.request
    line = None if known is None else known.passed.get((request.steps, request.steps_skipped))
    return None if known is None or line is None else (tuple(known.notes), [*known.settings, line])


def keep_schedule(checked: Checked, known: KnownSchedule) -> None:
    """Keep the results of trials.

    Args:
        checked: The request with its checkpoint.
        known: What was found out; added to what earlier trials did.
    """
    facts = schedule_facts(checked)
    if facts is not None:
        earlier = _recall(facts)
        passed = {**(earlier.passed if earlier else {}), **known.passed}
        rows = [[steps, skipped, line] for (steps, skipped), line in passed.items()]
        keep("schedule", facts, {"settings": known.settings, "passed": rows, "notes": known.notes})


def alike(checked: Checked) -> Iterator[Checked]:
    """Iterate over requests with the same schedule and other steps.

    Args:
        checked: The request with its checkpoint.

    Returns:
        The requests, those that people make most often first.
    """
    request = checked.request
    if checked.refiner is not None:  # which begins at a step that depends on how many there are
        return
    strength, rule = request.inputs.get("strength", 1.0), checked.checkpoint.family_info.steps_to_skip
    ways = [(request.steps, skipped) for skipped in range(request.steps if request.steps_skipped else 1)]
    for steps in (*USUAL, *range(1, MOST + 1)):
        ways.append((steps, rule(steps, strength) if request.steps_skipped else 0))
    for steps, skipped in dict.fromkeys(ways):
        if skipped < steps:
            yield replace(checked, request=replace(request, steps=steps, steps_skipped=skipped))


def _recall(facts: Any) -> KnownSchedule | None:
    result = None if facts is None else recall("schedule", facts)
    if result is None:
        return None
    passed = {(steps, skipped): line for steps, skipped, line in result["passed"]}
    return KnownSchedule(result["settings"], passed, result["notes"])
