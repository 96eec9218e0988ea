"""Checks that need no torch, whose import takes seconds: unknown scheduler settings, options for other devices."""

from __future__ import annotations

import sys

from composer.checkpoints.checkpoint import Checkpoint
from composer.checks.signatures import devices_of, scheduler_settings
from composer.config.spec import RunSpec
from composer.errors import ComposerError
from composer.sampling.custom_steps import CUSTOM
from composer.system.devices import built_for_cuda
from composer.system.signatures import check_keywords


def refuse(spec: RunSpec, checkpoint: Checkpoint) -> None:
    """Refuse settings that no class takes and options for devices that are not used.

    Anything else is checked by the classes themselves later.

    Args:
        spec: Settings of the run.
        checkpoint: The checkpoint.

    Raises:
        ComposerError: A setting is unknown, or an option has no effect on the CPU.
    """
    checkpoint_class = f"diffusers.{checkpoint.classes.get('scheduler', 'DDIMScheduler')}"
    settings = scheduler_settings(checkpoint_class if spec.scheduler.target is None else spec.scheduler.target.path)
    if settings is not None:
        check_keywords("scheduler", spec.scheduler.keywords, {*settings, *CUSTOM})
    if not _on_cpu(spec.device):
        return
    for group, options in {"memory": spec.memory, "accel": spec.accel}.items():
        for name, target in options.items():
            devices = devices_of(target.path)
            if devices is not None and "cpu" not in devices:
                raise ComposerError(group, name, f"does nothing on cpu: it is for {' and '.join(sorted(devices))}")


def _on_cpu(device: str) -> bool:
    """Whether a run is certain to be on the CPU."""
    return device == "cpu" or (device == "auto" and not built_for_cuda() and sys.platform != "darwin")
