"""Results that one job of a sweep computed and another can use: embeddings of prompts, encoded images, depth maps.

Kept by content beside the model that made them, and dropped with it. Nothing is kept outside of `use_embedding_cache`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")
#: Attributes in which torch's modules keep the hooks of forwards, each under a number of its own.
HOOK_ATTRIBUTES = ("_forward_hooks", "_forward_pre_hooks")
#: Results kept for each model.
MAX_RESULTS = 64
_active: ContextVar[EmbeddingCache | None] = ContextVar("embedding_cache", default=None)
#: Options of the present run as text: an option can change what a model computes without changing the model.
_options: ContextVar[str] = ContextVar("options", default="")
_ids: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_next_id = count()


class EmbeddingCache:
    """Results by model and content.

    Attributes:
        results: Model → key → result and the version of its tensors.
        misses: Number of results that had to be computed.
        hits: Number of results that were reused.
    """

    def __init__(self) -> None:
        self.results: WeakKeyDictionary[Any, OrderedDict[Hashable, tuple[Any, int]]] = WeakKeyDictionary()
        self.misses = self.hits = 0

    def get(self, model: nn.Module, key: Hashable, compute: Callable[[], T]) -> T:
        """Get a result, computed if it is not cached or was written to.

        Args:
            model: Model that computes the result.
            key: All that the result depends on.
            compute: Computes the result.

        Returns:
            The result, shared with later callers.
        """
        results = self.results.setdefault(model, OrderedDict())
        if key in results:
            result, version = results[key]
            if version == _version(result):  # nobody wrote into it since
                results.move_to_end(key)
                self.hits += 1
                return result
        result = compute()
        self.misses += 1
        results[key] = result, _version(result)
        while len(results) > MAX_RESULTS:
            results.popitem(last=False)
        return result


@contextmanager
def options_scope(options: str) -> Iterator[None]:
    """Keep results apart from those computed under other options.

    Args:
        options: Key of the active options.

    Yields:
        Nothing.
    """
    token = _options.set(options)
    try:
        yield
    finally:
        _options.reset(token)


@contextmanager
def use_embedding_cache(cache: EmbeddingCache) -> Iterator[EmbeddingCache]:
    """Let `cached` keep its results.

    Args:
        cache: Cache to use.

    Yields:
        The same cache.
    """
    token = _active.set(cache)
    try:
        yield cache
    finally:
        _active.reset(token)


def cached(model: nn.Module | None, key: Callable[[], Hashable], compute: Callable[[], T]) -> T:
    """Compute a result, or reuse that of the same model, state, options and key.

    Args:
        model: Model that computes the result; ``None`` to compute it without a cache.
        key: Returns the contents that the result depends on; called only while a cache is used.
        compute: Computes the result.

    Returns:
        The result. It may be shared, so it must not be written to.
    """
    cache = _active.get()
    if cache is None or model is None:
        return compute()
    return cache.get(model, (_options.get(), model_state(model), key()), compute)


def model_state(model: nn.Module | None) -> Hashable:
    """Identify a model and what was changed on it in place: hooks, forwards, weights that were written to.

    Args:
        model: Any module, or ``None``.

    Returns:
        A value that changes with the model's state.
    """
    if model is None:
        return None
    modules = _with_submodules(model)
    hooks = tuple(key for module in modules for kind in HOOK_ATTRIBUTES for key in getattr(module, kind))
    forwards = tuple(id(module.__dict__["forward"]) for module in modules if "forward" in module.__dict__)
    weights = (weight for module in modules for weight in module.parameters(recurse=False))
    return model_id(model), hooks, forwards, sum(weight._version for weight in weights)


def _with_submodules(model: nn.Module) -> list[nn.Module]:
    """A module and all below it, each once; faster than `Module.modules`, which names them."""
    modules = {model: None}
    pending = [model]
    while pending:
        children = [child for child in pending.pop().children() if child not in modules]
        modules |= dict.fromkeys(children)
        pending += children
    return [*modules]


def model_id(model: nn.Module) -> int:
    """Number a model. Unlike `id`, a number is not used again when the model is gone.

    Args:
        model: Any module.

    Returns:
        The model's number.
    """
    return _ids.setdefault(model, next(_next_id))


def evict_model(model: nn.Module) -> None:
    """Drop the results of a model that is about to compute differently.

    Args:
        model: Any module.
    """
    cache = _active.get()
    if cache is not None:
        cache.results.pop(model, None)


def content_hash(tensor: Tensor) -> str:
    """Hash the contents, dtype and shape of a tensor.

    Args:
        tensor: Any tensor; copied to the CPU.

    Returns:
        SHA-256 in hexadecimal.
    """
    import hashlib

    import torch

    flat = tensor.detach().cpu().contiguous()
    return hashlib.sha256(flat.view(torch.uint8).numpy().tobytes() + str((flat.dtype, flat.shape)).encode()).hexdigest()


def _version(result: Any) -> int:
    """Number of writes to the tensors in a result."""
    if hasattr(result, "_version"):
        return result._version
    if is_dataclass(result):
        return sum(_version(getattr(result, field.name)) for field in fields(result))
    if isinstance(result, dict):
        return sum(map(_version, result.values()))
    return 0
