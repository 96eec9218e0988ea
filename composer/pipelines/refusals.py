"""Refusals of earlier trials, which a check or a run of the same settings repeats without torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from composer.callbacks.base import StepCallback
from composer.checks.compatibility import Checked
from composer.errors import ComposerError
from composer.loading.check_cache import keep, recall
from composer.options.base import NoEffect
from composer.pipelines.check_facts import trial_facts
from composer.pipelines.light_parts import check_light_parts, resolve_callbacks, resolve_guidance
from composer.system.devices import is_on_cpu

KIND = "refusal"
#: First parts of the keys of refusals that are kept: those of files and of prompts may end with the next try.
KEPT = ("accel", "guidance", "memory", "precision", "scheduler", "steps")


def refuse_again(checked: Checked) -> None:
    """Refuse what an earlier trial refused.

    Args:
        checked: The request with its checkpoint, without callbacks from Python.

    Raises:
        ComposerError: The trial's, or what a trial refuses before it.
    """
    facts = trial_facts(checked)
    refused = None if facts is None else recall(KIND, facts)
    if refused is not None:
        check_light_parts(checked, resolve_guidance(checked), resolve_callbacks(checked, ()))
        kind = NoEffect if refused["no_effect"] else ComposerError
        raise kind(refused["key"], refused["value"], refused["reason"], refused["allowed"])


@contextmanager
def refusals_kept(checked: Checked, more: Sequence[StepCallback]) -> Iterator[None]:
    """Keep a refusal that is raised inside the context, if it depends on settings alone and is the first.

    Args:
        checked: The request with its checkpoint.
        more: Callbacks from Python, with which nothing is kept.

    Yields:
        Nothing.
    """
    try:
        yield
    except ComposerError as error:
        if not more:
            _keep_refusal(checked, error)
        raise


def _keep_refusal(checked: Checked, error: ComposerError) -> None:
    if not is_on_cpu(checked.spec.device):  # a GPU that torch misses today may be there tomorrow
        return
    plain = isinstance(error.value, str | int | float | None) and all(isinstance(one, str) for one in error.allowed)
    if type(error) not in (ComposerError, NoEffect) or error.key.split(".")[0] not in KEPT or not plain:
        return
    with suppress(ComposerError):  # of the light parts, which is raised first
        check_light_parts(checked, resolve_guidance(checked), resolve_callbacks(checked, ()))
        if (facts := trial_facts(checked)) is not None:
            refused = {"key": error.key, "value": error.value, "reason": error.reason, "allowed": [*error.allowed]}
            keep(KIND, facts, {"no_effect": isinstance(error, NoEffect), **refused})
