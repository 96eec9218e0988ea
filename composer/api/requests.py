"""What a call from Python asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from composer.callbacks.base import StepCallback
from composer.config.compose import compose_config
from composer.errors import ComposerError

if TYPE_CHECKING:
    from composer.config.spec import RunSpec


def request_of(
    overrides: Sequence[str], values: Mapping[str, Any], config_dir: str | None = None
) -> tuple[RunSpec, Sequence[StepCallback]]:  # fmt: skip
    """What a call from Python asks for, and the callbacks that it brought.

    Raises:
        ComposerError: a key or value that can't be.
    """
    from composer.config.python_values import given
    from composer.config.read import read

    found = given(overrides, values)
    spec = read(compose_config(found.words, folder_of(config_dir)))
    return replace(spec, values={**spec.values, **found.images}), found.callbacks


def folder_of(config_dir: str | os.PathLike[str] | None) -> str | None:
    """A folder of option files, as it was given.

    Raises:
        ComposerError: it is not there.
    """
    if config_dir is not None and not os.path.isdir(config_dir):
        raise ComposerError("config_dir", config_dir, "there is no such folder")
    return None if config_dir is None else os.fspath(config_dir)
