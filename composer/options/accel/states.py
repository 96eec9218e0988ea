"""States of diffusers' hooks for each kind of forward, and removal of the hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

from diffusers.hooks.hooks import CacheContext, HookRegistry, ModelHook, _set_cache_context
from torch import nn

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
            _set_cache_context(model, CacheContext(str(key)))
            return forward(*args, **given)

        return run


@contextmanager
def clean(model: nn.Module) -> Iterator[None]:
    """Remove hooks that are added to a model within the context.

    Args:
        model: The model.
    """
    known: dict[Any, set[int]] = {
        module: {id(hook) for hook in hooks_of(module)}
        for module in model.modules()
        if hasattr(module, "_diffusers_hook")
    }
    own = {module: module.__dict__.get("forward") for module in model.modules()}
    for module in known:  # a pipeline of diffusers' has listed them without those that come now
        module._diffusers_hook._child_registries_cache = None
    try:
        yield
    finally:
        for module, forward in own.items():
            registry = module.__dict__.get("_diffusers_hook")
            if registry is None:
                continue
            for name in [name for name, hook in registry.hooks.items() if id(hook) not in known.get(module, ())]:
                registry.remove_hook(name, recurse=False)
            if module not in known:
                del module._diffusers_hook
            if forward is None:  # diffusers leaves the class's own forward on the instance
                module.__dict__.pop("forward", None)
            registry._child_registries_cache = None


def hooks_of(module: nn.Module) -> list[ModelHook]:
    """Return diffusers' hooks on a module.

    Args:
        module: The module.
    """
    registry: HookRegistry | None = module.__dict__.get("_diffusers_hook")
    return [] if registry is None else list(registry.hooks.values())
