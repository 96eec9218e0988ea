"""States of diffusers' hooks for each kind of forward, and removal of the hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

from torch import nn

from composer.compat.hooks import delete_registry, forget_child_registries, hooks_of, registry_of, set_cache_context
from composer.options.accel.hooking import Forwards


class States:
    """The states of all hooks, for each kind of forward.

    Args:
        scale: Factor from the model's timesteps to ``[0, 1000]``.

    Attributes:
        timestep: The current timestep in ``[0, 1000]``; infinity in the first forward of its kind.
    """

    def __init__(self, scale: float) -> None:
        self.scale, self.forwards = scale, Forwards()
        self.hooks: list[Any] = []
        self.kept: dict[Any, list[Any]] = {}
        self.timestep = inf

    def around(self, model: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap the transformer's forward, so that hooks use the states of its kind.

        Args:
            model: The transformer.
            forward: Its forward, whose arguments are passed by name, as composer's families do.
        """

        def run(*args: Any, **given: Any) -> Any:
            sample = args[0] if args else given["hidden_states"]
            key = self.forwards.count(sample, given["timestep"], given.get("encoder_hidden_states"))
            stated = [hook for hook in self.hooks if hasattr(hook, "state")]
            first = key not in self.kept
            self.timestep = inf if first else (self.forwards.timestep or 0.0) * self.scale
            for hook, state in zip(stated, self.kept.setdefault(key, [type(hook.state)() for hook in stated])):
                hook.state = state
            set_cache_context(model, str(key))
            return forward(*args, **given)

        return run


@contextmanager
def clean(model: nn.Module) -> Iterator[None]:
    """Remove hooks that are added to a model within the context.

    Args:
        model: The model.
    """
    registries = {module: registry for module in model.modules() if (registry := registry_of(module)) is not None}
    known = {module: {id(hook) for hook in hooks_of(module)} for module in registries}
    forwards = {module: module.__dict__.get("forward") for module in model.modules()}
    for registry in registries.values():  # diffusers caches this list, which lacks the hooks that are added now
        forget_child_registries(registry)
    try:
        yield
    finally:
        for module, forward in forwards.items():
            current = registry_of(module)
            if current is None:
                continue
            for name in [name for name, hook in current.hooks.items() if id(hook) not in known.get(module, ())]:
                current.remove_hook(name, recurse=False)
            if module not in known:
                delete_registry(module)
            if forward is None:  # diffusers leaves the class's own forward on the instance
                module.__dict__.pop("forward", None)
            forget_child_registries(current)
