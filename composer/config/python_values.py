"""Translation of values that Python passes into overrides; images and callbacks are passed on as objects.

Values are recognised by protocol: an index, a number or an array counts as one, whatever its class.
"""

from __future__ import annotations

import json
import operator
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from numbers import Real
from typing import Any, Protocol, SupportsIndex, runtime_checkable

from composer.callbacks.base import StepCallback
from composer.config import overrides as argv
from composer.config.choices import option_of
from composer.config.keys import FILE_KEYS, LISTS
from composer.errors import ComposerError
from composer.images.arrays import is_image, to_images

CALLBACKS = "callbacks"
MINE = "callbacks=[Mine()]"
#: Flags of the command line → what to write in Python.
INSTEAD = {
    "-m": "composer.sweep(…)", "--multirun": "composer.sweep(…)",
    "--config-dir": "config_dir=FOLDER", "-cd": "config_dir=FOLDER",
}  # fmt: skip


@runtime_checkable
class _Array(Protocol):
    """A number or a row of them of numpy, torch, jax, …"""

    ndim: int

    def tolist(self) -> Any: ...


@dataclass(frozen=True)
class PythonValues:
    """Arguments of a call from Python, by how they are passed on.

    Attributes:
        words: Overrides in Hydra's grammar.
        images: Config key → PIL image or a list of them.
        callbacks: Callback objects.
    """

    words: list[str]
    images: Mapping[str, Any]
    callbacks: Sequence[StepCallback]


def sort_values(overrides: Sequence[str], values: Mapping[str, Any]) -> PythonValues:
    """Separate the arguments of a call into overrides, images and callbacks.

    Args:
        overrides: `key=value` words.
        values: Values by key.

    Returns:
        The overrides and objects.

    Raises:
        ComposerError: A value that no config can hold, with what to pass instead.
    """
    for word in overrides:
        _check_word(word)
    values, objects = dict(values), callbacks_of(values.get(CALLBACKS))
    if objects:
        del values[CALLBACKS]
    images: dict[str, Any] = {}
    words = overrides_of(_without_images(values, images))
    return PythonValues([*overrides, *words], images, objects)


def _without_images(values: Mapping[str, Any], images: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Replace images by placeholders, also in mappings; `images` receives them by their dotted keys."""
    result = dict(values)
    for name, value in values.items():
        key = f"{above}{name}"
        if is_image(value, arrays=key.rpartition(".")[2] in FILE_KEYS):
            images[key], result[name] = to_images(key, value), image_placeholder(key)
        elif isinstance(value, Mapping):
            result[name] = _without_images(value, images, f"{key}.")
    return result


def _check_word(word: Any) -> None:
    """Refuse what is no override.

    Raises:
        ComposerError: It is no text, or a flag of the command line.
    """
    if not isinstance(word, str):
        raise ComposerError(
            "compose", type_name(word), 'overrides are texts: "scheduler=euler"; values have names: seed=7'
        )
    if word.startswith("-"):
        advice = INSTEAD.get(word.partition("=")[0], "an override is key=value")
        raise ComposerError(word, None, f"is a flag of the command line; from Python: {advice}")


def image_placeholder(key: str) -> str:
    """Text that a record holds in place of an image that was passed as an object.

    Args:
        key: Config key of the image.

    Returns:
        The text.
    """
    return f"(an image given from Python as {key})"


def overrides_of(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Write values as overrides; `{"guidance": {"scale": 3}}` is `guidance.scale=3`.

    Args:
        values: Values by key, nested or not.
        above: Prefix of all keys, with its dot.

    Yields:
        Overrides in Hydra's grammar.

    Raises:
        ComposerError: A value that no config can hold.
    """
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from overrides_of(value, f"{above}{name}.")
        else:
            yield override_of(f"{above}{name}", value)


def override_of(key: str, value: Any) -> str:
    """Write a key and a value as one override in Hydra's grammar.

    Args:
        key: Dotted key.
        value: A value that `to_plain` accepts.

    Returns:
        `key=value`.

    Raises:
        ComposerError: A value that no config can hold.
    """
    return f"{key}={_value(key, to_plain(key, value))}"


def to_plain(key: str, value: Any) -> Any:
    """Convert a value to plain data.

    Args:
        key: Config key, for messages.
        value: Such as a path, an enumeration member, a torch dtype or device, a numpy number or a 1-D array.

    Returns:
        Text, a number, True, False, None or a list of these.

    Raises:
        ComposerError: It cannot be converted.
    """
    if value is None or isinstance(value, (str, bool, int, float)):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, Mapping) and not value:
        return {}
    if isinstance(value, (list, tuple, range)):
        return [to_plain(key, item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Enum):
        return to_plain(key, value.value)
    if type(value).__module__ == "torch" and type(value).__name__ in ("dtype", "device"):
        return str(value).removeprefix("torch.")
    if isinstance(value, type) or getattr(value, "ndim", 0) > 1:
        raise _unsupported(key, value)
    if isinstance(value, _Array):
        return value.tolist()
    if isinstance(value, SupportsIndex):
        return operator.index(value)
    if isinstance(value, (Real, Decimal)):
        return float(value)
    raise _unsupported(key, value)


def _value(key: str, value: Any) -> str:
    """Plain data in Hydra's grammar."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, list):
        return f"[{','.join(_value(key, item) for item in value)}]"
    return argv.quote(str(value))


def sweep_overrides(values: Mapping[str, Any]) -> list[str]:
    """Write the values of a sweep as overrides: a list is swept over, and a list inside it is one batch.

    Args:
        values: Values by key.

    Returns:
        Overrides in Hydra's grammar.

    Raises:
        ComposerError: An object, which other processes and a later resumption would not have.
    """
    return [word for key, value in values.items() for word in _axis(key, value)]


def _axis(key: str, value: Any) -> Iterator[str]:
    if is_image(value, arrays=key in FILE_KEYS):
        raise ComposerError(
            key,
            type_name(value),
            "a sweep reads images from files, so that it can be resumed: save it and give its name",
        )
    if key == CALLBACKS and callbacks_of(value):
        raise ComposerError(
            key, type_name(value), 'a sweep takes callbacks by name, so that it can be resumed: "callbacks=[preview]"'
        )
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _axis(f"{key}.{name}", item)
    else:
        data = to_plain(key, value)
        choices = data if isinstance(data, list) and key not in LISTS else [data]
        yield f"{key}={','.join(_value(key, choice) for choice in choices)}"


def callbacks_of(value: Any) -> Sequence[StepCallback]:
    """Extract the callback objects of a list.

    Args:
        value: Value of the key `callbacks`.

    Returns:
        The objects; empty if all entries are names.

    Raises:
        ComposerError: A class, a function or another object, with what to pass instead; or names beside objects.
    """
    items = list(value) if isinstance(value, (list, tuple)) else [value]
    objects = [item for item in items if not isinstance(item, (str, type(None)))]
    for item in objects:
        if not isinstance(item, StepCallback):
            raise ComposerError(CALLBACKS, type_name(item), _instead(item))
    if objects and len(objects) < len(items):
        name = next(filter(None, (item for item in items if isinstance(item, str))), "preview")
        reason = f'names go into an override, and objects into the list: compose("callbacks=[{name}]", {MINE})'
        raise ComposerError(CALLBACKS, f"{name}, {type_name(objects[0])}", reason)
    return objects


def _instead(odd: Any) -> str:
    """What to pass for something that is no callback."""
    base = (
        "composer.StepCallback, with the moments that it needs: before_step, after_predict, after_step or after_decode"
    )
    if isinstance(odd, type) and issubclass(odd, StepCallback):
        return f"is a class: pass an object of it, callbacks=[{odd.__name__}()]"
    if isinstance(odd, Mapping):
        return 'settings go into overrides: compose("callbacks=[preview]", "callbacks.preview.every=2")'
    if callable(odd) and not hasattr(odd, "callback_fn") and hasattr(odd, "__name__"):
        return f"is a function: pass an object of a class that derives from {base}"
    return f"is no callback: its class must derive from {base}"


def _unsupported(key: str, value: Any) -> ComposerError:
    """The error for an object that no config can hold."""
    if isinstance(value, Mapping):
        return ComposerError(
            key, value, "settings in a list can't be passed: give each by its key, such as 'scheduler.eta=1.0'"
        )
    name = (value if isinstance(value, type) else type(value)).__name__
    group = key.partition(".")[0]
    if key in FILE_KEYS:
        return ComposerError(key, type_name(value), "must be a file or a PIL image, or a list of one of these kinds")
    if group == "model":
        reason = "a loaded model can't be given: save_pretrained(FOLDER) it, and say model=local model.source=FOLDER"
        return ComposerError(key, type_name(value), reason)
    if group in ("scheduler", "guidance", "task"):
        option = option_of(group, f"diffusers.{name}") if group == "scheduler" else None
        advice = f", {group}={option!r}" if option else f": `compose list {group}` shows them"
        return ComposerError(key, type_name(value), f"is chosen by the name of an option{advice}")
    if name == "Generator":
        return ComposerError(key, type_name(value), "is a generator: give its seed as a number, seed=7")
    return ComposerError(key, type_name(value), "must be text, a number, true or false, or a list of these")


def type_name(value: Any) -> str:
    """Name of an object's type, as messages print it.

    Args:
        value: An object, a class, or a list.

    Returns:
        Such as `EulerDiscreteScheduler`; of a list, the name for its first item in brackets.
    """
    if isinstance(value, (list, tuple)) and value:
        return f"[{type_name(value[0])}]"
    return str(getattr(value, "__name__", type(value).__name__))
