"""Values given from Python → words of the command line; and images and callbacks, which only Python can give as
objects.

Values are known by protocol: what is an index, a number or an array counts as one, whoever made its class.
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
from typing import Any

from composer.callbacks.base import StepCallback
from composer.config import overrides as argv
from composer.config.choices import option_of
from composer.config.keys import FILE_KEYS
from composer.errors import ComposerError
from composer.images.arrays import is_image, to_images

CALLBACKS = "callbacks"
#: Groups of which a list is one choice.
LISTS = (CALLBACKS, "memory", "accel")
MINE = "callbacks=[Mine()]"
#: Flags of the command line → what does the same here.
INSTEAD = {
    "-m": "composer.sweep(…)", "--multirun": "composer.sweep(…)", "--config-dir": "config_dir=FOLDER", "-cd": "config_dir=FOLDER",
}  # fmt: skip


@dataclass(frozen=True)
class Given:
    """words: for Hydra. images: key → PIL image or a list of them. callbacks: objects."""

    words: list[str]
    images: Mapping[str, Any]
    callbacks: Sequence[StepCallback]


def given(overrides: Sequence[str], values: Mapping[str, Any]) -> Given:
    """Sort what a call was given.

    Raises:
        ComposerError: a value that no config can hold, and what to give instead.
    """
    for word in overrides:
        _check_word(word)
    values, objects = dict(values), callbacks_of(values.get(CALLBACKS))
    if objects:
        del values[CALLBACKS]
    images = {key: to_images(key, value) for key, value in values.items() if is_image(value, arrays=key in FILE_KEYS)}
    words = overrides_of({key: named(key) if key in images else value for key, value in values.items()})
    return Given([*overrides, *words], images, objects)


def _check_word(word: Any) -> None:
    """Refuse what is no override.

    Raises:
        ComposerError: what to say instead.
    """
    if not isinstance(word, str):
        raise ComposerError("compose", kind(word), 'overrides are texts: "scheduler=euler"; values have names: seed=7')
    if word.startswith("-"):
        advice = INSTEAD.get(word.partition("=")[0], "an override is key=value")
        raise ComposerError(word, None, f"is a flag of the command line; from Python: {advice}")


def named(key: str) -> str:
    """What a record says instead of an image that no file holds."""
    return f"(an image given from Python as {key})"


def overrides_of(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Values by key as overrides in Hydra's grammar; `{"guidance": {"scale": 3}}` is `guidance.scale=3`."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from overrides_of(value, f"{above}{name}.")
        else:
            yield override_of(f"{above}{name}", value)


def override_of(key: str, value: Any) -> str:
    """A key and a value as one override in Hydra's grammar."""
    return f"{key}={_value(key, plain(key, value))}"


def plain(key: str, value: Any) -> Any:
    """A value as text, number, true, false, None or a list of these.

    Raises:
        ComposerError: it is none of them.
    """
    if value is None or isinstance(value, (str, bool, int, float)):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, Mapping) and not value:
        return {}
    if isinstance(value, (list, tuple, range)):
        return [plain(key, each) for each in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Enum):
        return plain(key, value.value)
    if type(value).__module__ == "torch" and type(value).__name__ in ("dtype", "device"):
        return str(value).removeprefix("torch.")
    if isinstance(value, type) or getattr(value, "ndim", 0) > 1:
        raise _unfit(key, value)
    if hasattr(value, "ndim") and hasattr(value, "tolist"):  # numbers and rows of numpy, torch, jax, …
        return value.tolist()
    if hasattr(type(value), "__index__"):
        return operator.index(value)
    if isinstance(value, (Real, Decimal)):
        return float(value)
    raise _unfit(key, value)


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
        return f"[{','.join(_value(key, each) for each in value)}]"
    return argv.quote(str(value))


def swept(values: Mapping[str, Any]) -> list[str]:
    """Values of a sweep as words: a list is what to sweep over, and a list in it is one batch.

    Raises:
        ComposerError: an object, which no other process and no later resuming would have.
    """
    return [word for key, value in values.items() for word in _axis(key, value)]


def _axis(key: str, value: Any) -> Iterator[str]:
    if is_image(value, arrays=key in FILE_KEYS):
        raise ComposerError(
            key, kind(value), "a sweep reads images from files, so that it can be resumed: save it and give its name"
        )
    if key == CALLBACKS and callbacks_of(value):
        raise ComposerError(
            key, kind(value), 'a sweep takes callbacks by name, so that it can be resumed: "callbacks=[preview]"'
        )
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _axis(f"{key}.{name}", each)
    else:
        found = plain(key, value)
        choices = found if isinstance(found, list) and key not in LISTS else [found]
        yield f"{key}={','.join(_value(key, each) for each in choices)}"


def callbacks_of(value: Any) -> Sequence[StepCallback]:
    """The objects among callbacks; empty where they are names.

    Raises:
        ComposerError: a class, a function, or another object; what to pass instead.
    """
    several = list(value) if isinstance(value, (list, tuple)) else [value]
    objects = [each for each in several if not isinstance(each, (str, type(None)))]
    for each in objects:
        if not isinstance(each, StepCallback):
            raise ComposerError(CALLBACKS, kind(each), _instead(each))
    if objects and len(objects) < len(several):
        name = next(filter(None, (each for each in several if isinstance(each, str))), "preview")
        reason = f'names go into an override, and objects into the list: compose("callbacks=[{name}]", {MINE})'
        raise ComposerError(CALLBACKS, f"{name}, {kind(objects[0])}", reason)
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


def _unfit(key: str, value: Any) -> ComposerError:
    """The error for an object that no config can hold."""
    if isinstance(value, Mapping):
        return ComposerError(
            key, value, "settings in a list can't be passed: give each by its key, such as 'scheduler.eta=1.0'"
        )
    name = (value if isinstance(value, type) else type(value)).__name__
    group = key.partition(".")[0]
    if key in FILE_KEYS:
        return ComposerError(key, kind(value), "must be a file or a PIL image, or a list of one of these kinds")
    if group == "model":
        reason = "a loaded model can't be given: save_pretrained(FOLDER) it, and say model=local model.source=FOLDER"
        return ComposerError(key, kind(value), reason)
    if group in ("scheduler", "guidance", "task"):
        option = option_of(group, f"diffusers.{name}") if group == "scheduler" else None
        advice = f", {group}={option!r}" if option else f": `compose list {group}` shows them"
        return ComposerError(key, kind(value), f"is chosen by the name of an option{advice}")
    if name == "Generator":
        return ComposerError(key, kind(value), "is a generator: give its seed as a number, seed=7")
    return ComposerError(key, kind(value), "must be text, a number, true or false, or a list of these")


def kind(value: Any) -> str:
    """`EulerDiscreteScheduler`, of an object or of the class itself; of a list, of what it holds."""
    if isinstance(value, (list, tuple)) and value:
        return f"[{kind(value[0])}]"
    return str(getattr(value, "__name__", type(value).__name__))
