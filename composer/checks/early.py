"""Checks that need no torch, whose import takes seconds: unknown scheduler settings, options for other devices."""

from __future__ import annotations

from composer.checkpoints.checkpoint import Checkpoint
from composer.checks.signatures import devices_of, scheduler_settings
from composer.config.spec import RunSpec
from composer.errors import ComposerError
from composer.sampling.custom_steps import CUSTOM
from composer.system.devices import is_on_cpu
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
    if not is_on_cpu(spec.device):
        return
    for group, options in {"memory": spec.memory, "accel": spec.accel}.items():
        for name, target in options.items():
            devices = devices_of(target.path)
            if devices is not None and "cpu" not in devices:
                raise ComposerError(group, name, f"does nothing on cpu: it is for {' and '.join(sorted(devices))}")
