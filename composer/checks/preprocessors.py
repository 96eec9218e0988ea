"""Preprocessors of control images by name: composer's own, and those of plugins. No torch.

A plugin offers one by an entry point of the group `composer.preprocessors`: its name, and `module:function`. The
function takes an RGB image of PIL and settings by name, and returns an image of the same size.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from composer.config.plugins import provider
from composer.errors import ComposerError, suggest
from composer.system.constraints import check_arguments

if TYPE_CHECKING:
    from PIL.Image import Image

#: Group of plugins' entry points.
GROUP = "composer.preprocessors"
NONE = "none"
#: Name → `module:function`.
OWN = {
    **{name: f"composer.images.preprocess:{name}" for name in ("canny", "gray", "invert", "blur", "lineart")},
    "depth": "composer.loading.depth_estimation:depth",
}


def preprocessors() -> dict[str, str]:
    """Collect the preprocessors by name.

    Returns:
        Name → `module:function`; of plugins in use alone, which can't replace one of composer's.
    """
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return {**{point.name: point.value for point in points if provider(point.value.partition(":")[0])}, **OWN}


def check_preprocessor(key: str, name: str, settings: Mapping[str, Any]) -> None:
    """Refuse a preprocessor that there is not, or settings that it does not take.

    Args:
        key: Config key of the control model.
        name: Name of the preprocessor; `none` for none.
        settings: Its settings by name.

    Raises:
        ComposerError: It is unknown, a setting is unknown or out of range, or one is missing.
    """
    key, known = f"{key}.preprocess", preprocessors()
    if name == NONE:
        for setting, value in settings.items():
            raise ComposerError(f"{key}.{setting}", value, f"there is no preprocessor that it is of: {key}=canny")
        return
    if name not in known:
        raise ComposerError(key, name, f"is no preprocessor.{suggest(name, known)}", (NONE, *known))
    function = load_preprocessor(name)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    names = [parameter.name for parameter in parameters]
    for setting, value in settings.items():
        if setting not in names:
            reason = f"{name} has no such setting.{suggest(setting, names)}"
            raise ComposerError(f"{key}.{setting}", value, reason, names)
    for parameter in parameters:
        if parameter.default is parameter.empty and parameter.name not in settings:
            reason = f"{name} needs it: {key}.{parameter.name}=…"
            raise ComposerError(f"{key}.{parameter.name}", None, reason)
    check_arguments(key, function, settings)


def load_preprocessor(name: str) -> Callable[..., Image]:
    """Import a preprocessor.

    Args:
        name: Its name.

    Returns:
        The function.
    """
    module, _, function = preprocessors()[name].partition(":")
    preprocess: Callable[..., Image] = getattr(import_module(module), function)
    return preprocess
