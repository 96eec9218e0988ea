"""Whether a callback's methods are moments of a run: one that nobody would call is refused, and not passed over in
silence.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from composer.callbacks.base import StepCallback
from composer.errors import ComposerError

#: Moments, with what they are called with.
ARGUMENTS = {
    "around": ("run",), "before_step": ("step",), "after_predict": ("step", "prediction"),
    "after_step": ("step", "latents"),
    "after_decode": ("run", "images"),
}  # fmt: skip
#: Names by which other libraries call theirs.
_HOOK = re.compile(r"(callback_)?(on|before|after|pre|post|at)_\w+|callback_fn|(run_|train_)?step_(begin|start|end)")
_MEANT = {
    "before_step": "begin|start|before|pre_", "after_decode": "decode|image|finish|run|train",
    "after_predict": "predict|noise|model", "after_step": "",
}  # fmt: skip


def check(name: str, callback: StepCallback) -> None:
    """Compare a callback's public methods with those of the protocol.

    Args:
        name: Name of the callback.
        callback: The callback.

    Raises:
        ComposerError: A method has nearly the name of one of the protocol, or takes other arguments than it.
    """
    methods = [method for method in dir(callback) if method not in dir(StepCallback) and not method.startswith("_")]
    for method in methods:
        if not callable(getattr(type(callback), method, None)):
            continue
        if _HOOK.fullmatch(method) or _misspelt(method):
            raise ComposerError(
                f"callbacks.{name}", method, f"is never called here: {_described(_meant(method))}", ARGUMENTS
            )
    if callable(callback) and not any(_overridden(callback, moment) for moment in ARGUMENTS):
        raise ComposerError(
            f"callbacks.{name}", "__call__", f"is never called here: {_described('after_step')}", ARGUMENTS
        )
    for moment, arguments in ARGUMENTS.items():
        if _overridden(callback, moment) and not _takes(getattr(callback, moment), len(arguments)):
            raise ComposerError(
                f"callbacks.{name}", moment, f"takes other arguments than it gets: {_described(moment)}"
            )


def _misspelt(method: str) -> str | None:
    """The method of the protocol whose name differs by a typo; less similar names can be helpers."""
    return next(iter(get_close_matches(method, ARGUMENTS, 1, 0.8)), None)


def _meant(method: str) -> str:
    """The method of the protocol that corresponds to a name of another library."""
    return _misspelt(method) or next(moment for moment, word in _MEANT.items() if re.search(word, method))


def _described(moment: str) -> str:
    return f"define {moment}(self, {', '.join(ARGUMENTS[moment])})"


def _overridden(callback: StepCallback, moment: str) -> bool:
    return getattr(type(callback), moment, None) is not getattr(StepCallback, moment)


def _takes(method: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(method).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # a function of C without a signature
        return True
    return True
