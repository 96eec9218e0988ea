"""composer assembles and runs diffusion pipelines from declarative configuration, on top of diffusers.

Only names for users and plugin authors live here, each imported when first used, so `import composer` stays cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from composer.version import __version__

#: Name → the module that has it, and its name there.
_HOMES = {
    "compose": ("composer.api.run", "compose"),
    "load": ("composer.api.run", "load"),
    "check": ("composer.api.commands", "check"),
    "list": ("composer.api.commands", "list_options"),
    "rerun": ("composer.api.commands", "rerun"),
    "show": ("composer.api.commands", "show"),
    "sweep": ("composer.api.commands", "sweep"),
    "Branches": ("composer.sampling.guidance", "Branches"),
    "Clip": ("composer.media.clip", "Clip"),
    "ComposerError": ("composer.errors", "ComposerError"),
    "Conditioning": ("composer.callbacks.base", "Conditioning"),
    "Decoded": ("composer.families.settings", "Decoded"),
    "DiffusersFamily": ("composer.families.components", "DiffusersFamily"),
    "Embedding": ("composer.callbacks.base", "Embedding"),
    "Family": ("composer.families.base", "Family"),
    "FamilyInfo": ("composer.checkpoints.layouts", "FamilyInfo"),
    "FamilySettings": ("composer.families.settings", "FamilySettings"),
    "LatentFamily": ("composer.families.latent", "LatentFamily"),
    "Guidance": ("composer.sampling.guidance", "Guidance"),
    "Inputs": ("composer.tasks.base", "Inputs"),
    "Metric": ("composer.metrics.base", "Metric"),
    "ModelOption": ("composer.options.base", "ModelOption"),
    "OptionContext": ("composer.options.base", "OptionContext"),
    "Request": ("composer.callbacks.request", "Request"),
    "Result": ("composer.records.result", "Result"),
    "Run": ("composer.callbacks.base", "Run"),
    "Sound": ("composer.media.sound", "Sound"),
    "Start": ("composer.tasks.base", "Start"),
    "Step": ("composer.callbacks.base", "Step"),
    "StepCallback": ("composer.callbacks.base", "StepCallback"),
    "StopDenoising": ("composer.callbacks.base", "StopDenoising"),
    "Supports": ("composer.checkpoints.layouts", "Supports"),
    "Task": ("composer.tasks.base", "Task"),
    "Tool": ("composer.tools.base", "Tool"),
    **{
        name: ("composer.system.constraints", name)
        for name in ("Fraction", "Ge", "Gt", "Interval", "Le", "Lt", "MinLen", "NonFinite", "require")
    },
}

__all__ = [
    "Branches", "Clip", "ComposerError", "Conditioning", "Decoded", "DiffusersFamily", "Embedding", "Family",
    "FamilyInfo", "FamilySettings", "Fraction", "Ge", "Gt", "Guidance", "Inputs", "Interval", "LatentFamily", "Le",
    "Lt", "Metric", "MinLen", "ModelOption", "NonFinite", "OptionContext", "Request", "Result", "Run", "Sound", "Start",
    "Step", "StepCallback", "StopDenoising", "Supports", "Task", "Tool", "__version__", "check", "compose", "list",
    "load", "require", "rerun", "show", "sweep",
]  # fmt: skip

if TYPE_CHECKING:
    from composer.api.commands import check, rerun, show, sweep
    from composer.api.commands import list_options as list
    from composer.api.run import compose, load
    from composer.callbacks.base import Conditioning, Embedding, Run, Step, StepCallback, StopDenoising
    from composer.callbacks.request import Request
    from composer.checkpoints.layouts import FamilyInfo, Supports
    from composer.errors import ComposerError
    from composer.families.base import Family
    from composer.families.components import DiffusersFamily
    from composer.families.latent import LatentFamily
    from composer.families.settings import Decoded, FamilySettings
    from composer.media.clip import Clip
    from composer.media.sound import Sound
    from composer.metrics.base import Metric
    from composer.options.base import ModelOption, OptionContext
    from composer.records.result import Result
    from composer.sampling.guidance import Branches, Guidance
    from composer.system.constraints import Fraction, Ge, Gt, Interval, Le, Lt, MinLen, NonFinite, require
    from composer.tasks.base import Inputs, Start, Task
    from composer.tools.base import Tool


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'composer' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> Sequence[str]:
    return sorted(__all__)
