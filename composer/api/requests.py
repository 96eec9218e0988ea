"""Requests of calls from Python."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from composer.callbacks.base import StepCallback
from composer.config.control import with_images
from composer.config.recipes import RECIPE
from composer.config.spec import RunSpec
from composer.errors import ComposerError
from composer.recipes.requests import read_request
from composer.recipes.spec import RecipeSpec

if TYPE_CHECKING:
    from composer.recipes.requests import Spec


def run_of(
    overrides: Sequence[str], values: Mapping[str, Any], config_dir: str | None = None
) -> tuple[RunSpec, Sequence[StepCallback]]:
    """Compose the config of a call from Python that takes a single run.

    Args:
        overrides: As for `request_of`.
        values: As for `request_of`.
        config_dir: As for `request_of`.

    Returns:
        The run, and the callbacks that were passed as objects.

    Raises:
        ComposerError: A key or value is not valid, or a recipe is chosen.
    """
    spec, callbacks = request_of(overrides, values, config_dir)
    if isinstance(spec, RecipeSpec):
        reason = "has several pipelines, and this is one of them: composer.compose keeps their models loaded, too"
        raise ComposerError(RECIPE, spec.name, reason)
    return spec, callbacks


def request_of(
    overrides: Sequence[str], values: Mapping[str, Any], config_dir: str | None = None
) -> tuple[Spec, Sequence[StepCallback]]:
    """Compose the config of a call from Python.

    Args:
        overrides: Overrides as on the command line.
        values: Python values of keys.
        config_dir: Directory with option files of the caller's own.

    Returns:
        The run or the recipe, and the callbacks that were passed as objects.

    Raises:
        ComposerError: A key or value is not valid.
    """
    from composer.config.python_values import image_placeholder, sort_values
    from composer.sweeps.request_configs import compose_again

    python = sort_values(overrides, values)
    spec = read_request(compose_again(python.words, folder_of(config_dir))[0])
    if isinstance(spec, RecipeSpec):
        texts = {key: image_placeholder(key) for key in python.images}
        steps = tuple(step.with_images(python.images, texts) for step in spec.steps)
        return replace(spec, steps=steps), python.callbacks
    images = {key: image for key, image in python.images.items() if "." not in key}
    controls = with_images(spec.controls, python.images)
    return replace(spec, values={**spec.values, **images}, controls=controls), python.callbacks


def folder_of(config_dir: str | os.PathLike[str] | None) -> str | None:
    """Check the directory of option files that a caller passed.

    Args:
        config_dir: The directory, or None.

    Returns:
        Its path, or None.

    Raises:
        ComposerError: There is no such directory.
    """
    if config_dir is not None and not os.path.isdir(config_dir):
        raise ComposerError("config_dir", config_dir, "there is no such folder")
    return None if config_dir is None else os.fspath(config_dir)
