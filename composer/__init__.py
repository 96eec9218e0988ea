"""composer: say which pipeline you want; it is put together from diffusers' parts and run.

Only names for users and plugin authors live here, each imported when first asked for, so `import composer` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "compose": "composer.api",
    "ComposerError": "composer.errors",
    "Request": "composer.spec",
    "Result": "composer.pipeline",
    "Run": "composer.callbacks.base",
    "Step": "composer.callbacks.base",
    "StepCallback": "composer.callbacks.base",
    "StopDenoising": "composer.callbacks.base",
}

__all__ = ["ComposerError", "Request", "Result", "Run", "Step", "StepCallback", "StopDenoising", "__version__", "compose"]

if TYPE_CHECKING:
    from composer.api import compose
    from composer.callbacks.base import Run, Step, StepCallback, StopDenoising
    from composer.errors import ComposerError
    from composer.pipeline import Result
    from composer.spec import Request


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'composer' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
