"""What one job of a sweep computed and another can use: embeddings of prompts, encoded images, depth maps.

Kept beside the model that made it and gone with it, by content. Outside of `remembering` nothing is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from itertools import count
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")
#: Where torch's modules keep the hooks of forwards, each under a number of its own.
HOOKS = ("_forward_hooks", "_forward_pre_hooks")
#: Results kept for each model.
MOST = 64
_now: ContextVar[Memo | None] = ContextVar("memo", default=None)
#: How the models of the run under way are run, as text: an option can change what they make without changing what they
#: are.
_options: ContextVar[str] = ContextVar("options", default="")
_numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_next = count()


class Memo:
    """made: how often something had to be computed; reused: how often not."""

    def __init__(self) -> None:
        self.kept: WeakKeyDictionary[Any, OrderedDict[Hashable, tuple[Any, int]]] = WeakKeyDictionary()
        self.made = self.reused = 0

    def get(self, model: Any, key: Hashable, make: Callable[[], T]) -> T:
        kept = self.kept.setdefault(model, OrderedDict())
        if key in kept:
            value, version = kept[key]
            if version == _version(value):  # nobody wrote into it since
                kept.move_to_end(key)
                self.reused += 1
                return value
        value = make()
        self.made += 1
        kept[key] = value, _version(value)
        while len(kept) > MOST:
            kept.popitem(last=False)
        return value


@contextmanager
def running(options: str) -> Iterator[None]:
    """Within it results are kept apart from those under other options."""
    token = _options.set(options)
    try:
        yield
    finally:
        _options.reset(token)


@contextmanager
def remembering(memo: Memo) -> Iterator[Memo]:
    """Within it `remember` keeps what it is given."""
    token = _now.set(memo)
    try:
        yield memo
    finally:
        _now.reset(token)


def remember(model: Any, key: Callable[[], Hashable], make: Callable[[], T]) -> T:
    """`make()`, or what it gave when `model` was last asked for the same, in the same state and under the same options.

    Args:
        key: of the contents, and of other models that have a say; asked only when something is kept.
    """
    memo = _now.get()
    if memo is None or model is None:
        return make()
    return memo.get(model, (_options.get(), state_of(model), key()), make)


def state_of(model: Any) -> Hashable:
    """Which model it is, and what was changed on it in place: hooks, forwards, weights that were written to."""
    if model is None:
        return None
    modules = list(model.modules())
    hooks = tuple(key for module in modules for kind in HOOKS for key in getattr(module, kind))
    forwards = tuple(id(module.__dict__["forward"]) for module in modules if "forward" in module.__dict__)
    written = sum(weight._version for weight in model.parameters())
    return number_of(model), hooks, forwards, written


def number_of(model: Any) -> int:
    """A number that no other model gets, also when this one is gone, as an `id` may."""
    return _numbers.setdefault(model, next(_next))


def drop(model: Any) -> None:
    """Forget what a model made, because it will make it otherwise."""
    memo = _now.get()
    if memo is not None:
        memo.kept.pop(model, None)


def digest(tensor: Any) -> str:
    """Of a tensor's contents."""
    import hashlib

    import torch

    flat = tensor.detach().cpu().contiguous()
    return hashlib.sha256(flat.view(torch.uint8).numpy().tobytes() + str((flat.dtype, flat.shape)).encode()).hexdigest()


def _version(value: Any) -> int:
    """How often the tensors in a result were written to."""
    if hasattr(value, "_version"):
        return value._version
    if is_dataclass(value):
        return sum(_version(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, dict):
        return sum(map(_version, value.values()))
    return 0
