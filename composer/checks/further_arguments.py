"""Arguments of a hosted pipeline's call that composer has no key for, such as `arguments.max_sequence_length=256`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from composer.checks.pipeline_arguments import AREA, TABLE, name_of
from composer.checks.pipeline_class import takes
from composer.errors import ComposerError
from composer.system.signatures import check_keywords, keywords_of
from composer.tasks.base import ARGUMENTS

#: Arguments that composer sets, or whose values no config can hold.
SET_BY_COMPOSER = frozenset({
    AREA, "generator", "output_type", "return_dict", "batch_size", "callback", "callback_steps", "callback_on_step_end",
    "callback_on_step_end_tensor_inputs", "latents",
})  # fmt: skip


def check_further_arguments(pipeline: Any, given: Mapping[str, Any]) -> None:
    """Refuse arguments that a pipeline class does not take, that another key sets, or of another type.

    Args:
        pipeline: diffusers pipeline class.
        given: Name → value.

    Raises:
        ComposerError: An argument would have no effect, or would fail.
    """
    if not given:
        return
    known = {name for name in keywords_of(pipeline.__call__) - SET_BY_COMPOSER if takes(pipeline, name)}
    keys = {name: key for key in TABLE if (name := name_of(key, pipeline))}
    for name, value in given.items():
        if name in keys:
            key = "guidance" if keys[name].startswith("guidance.") else keys[name]
            raise ComposerError(f"{ARGUMENTS}.{name}", value, f"has a key of its own: {key}={value}")
        check_keywords(ARGUMENTS, {name: value}, known - set(keys))
        default = inspect.signature(pipeline.__call__).parameters[name].default
        _check_type(name, value, type(default))


def _check_type(name: str, value: Any, kind: type) -> None:
    """Compare a value with the type of the default, where that is a plain one."""
    if kind not in (bool, int, float, str) or type(value) is kind or (kind is float and type(value) is int):
        return
    words = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
    raise ComposerError(f"{ARGUMENTS}.{name}", value, f"must be {words[kind]}")
