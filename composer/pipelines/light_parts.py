"""The parts of a run that need neither weights nor torch: guidance, callbacks, and what both need of a native model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from composer.callbacks.base import StepCallback
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.layouts import HOSTED
from composer.checks.compatibility import Checked
from composer.checks.requirements import check_guidance, check_requirements, check_second_scale
from composer.config.targets import build
from composer.errors import ComposerError
from composer.families.lookup import family_class
from composer.loading.check_cache import recall_or
from composer.pipelines.check_facts import family_facts
from composer.sampling.guidance import Guidance
from composer.system.devices import is_on_cpu

#: Dtype that is replaced on a CPU, or noted.
SLOW_ON_CPU = "fp16"


def resolve_guidance(checked: Checked) -> Guidance:
    """Build the guidance of a run.

    Args:
        checked: The request with its checkpoint.

    Returns:
        The guidance for the checkpoint's denoiser.

    Raises:
        ComposerError: Its settings are refused, or it would do nothing with this model.
    """
    guidance: Guidance = build("guidance", checked.spec.guidance, Guidance)
    return guidance.for_model(checked.checkpoint.takes_guidance_scale)


def device_is_plain(checked: Checked) -> bool:
    """Whether a run is certain to compute on the CPU in dtypes that suit it, of which there is nothing to note.

    Args:
        checked: The request with its checkpoint.
    """
    precision, checkpoint = checked.spec.precision, checked.checkpoint
    if not is_on_cpu(checked.spec.device) or precision.storage or checkpoint.quantised:
        return False
    if checkpoint.single_file and precision.components:
        return False
    return SLOW_ON_CPU not in (precision.dtype, *precision.components.values())


def resolve_callbacks(checked: Checked, more: Sequence[StepCallback]) -> dict[str, StepCallback]:
    """Build the callbacks of a run.

    Args:
        checked: The request with its checkpoint.
        more: Callbacks from Python, which follow those of the config.

    Returns:
        Callbacks by name; those from Python are named by their class.

    Raises:
        ComposerError: The settings of a callback are refused.
    """
    targets = checked.spec.callbacks.items()
    callbacks = {name: build(f"callbacks.{name}", target, StepCallback) for name, target in targets}
    for callback in more:
        callbacks[_unused_name(type(callback).__name__, callbacks)] = callback
    return callbacks


def _unused_name(name: str, used: Mapping[str, Any]) -> str:
    """A name that is not in use: `Mine`, `Mine2`, …"""
    names = (name if i == 1 else f"{name}{i}" for i in count(1))
    return next(candidate for candidate in names if candidate not in used)


def check_light_parts(checked: Checked, guidance: Guidance, callbacks: Mapping[str, StepCallback]) -> None:
    """Check what prompts, callbacks and guidance need of the checkpoint and the task.

    Args:
        checked: The request with its checkpoint.
        guidance: Guidance of the run.
        callbacks: Callbacks by name.

    Raises:
        ComposerError: One of them can't work with the checkpoint or the task.
    """
    spec, checkpoint = checked.spec, checked.checkpoint
    if spec.overflow == "chunk" and not _reads(checkpoint)["long_prompts"]:
        reason = f"is for models that read by CLIP alone, and {spec.model.name} is of the family {checkpoint.family}"
        raise ComposerError("prompt_overflow", "chunk", reason, ("warn", "error"))
    if spec.prompt_syntax == "weights":
        _check_weights(checked)
    for candidate in filter(None, (checkpoint, checked.refiner)):
        check_requirements(callbacks, checked.task, candidate, spec.task.name)
        check_guidance(guidance, candidate, spec.guidance.name)
    if checkpoint.family != HOSTED:
        check_second_scale(guidance, checked.request)


def _reads(checkpoint: Checkpoint) -> dict[str, bool]:
    """Which prompts the family of a checkpoint reads."""

    def facts() -> dict[str, bool]:
        family = family_class(checkpoint)
        return {"long_prompts": family.reads_long_prompts, "weights": family.reads_weights}

    return recall_or("family", family_facts(checkpoint), facts)


def _check_weights(checked: Checked) -> None:
    """Refuse weights of words that the model can't take."""
    checkpoint = checked.checkpoint
    if not _reads(checkpoint)["weights"]:
        reason = (
            f"is for prompts that CLIP or T5 reads, and models of the family {checkpoint.family} can't take weights"
        )
        raise ComposerError("prompt_syntax", "weights", reason, ("text",))
    if checked.spec.overflow == "chunk":
        raise ComposerError(
            "prompt_syntax", "weights", "can't be together with prompt_overflow=chunk: choose one of them"
        )
