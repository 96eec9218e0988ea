"""States of diffusers' hooks for each kind of forward, and removal of the hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from composer.compat.hooks import delete_registry, forget_child_registries, hooks_of, registry_of, set_cache_context
from composer.options.accel.hooking import Forwards

#: Names of the latents, of the timestep and of the text among the arguments of transformers.
INPUTS = ("hidden_states", "sample", "x"), ("timestep", "t"), ("encoder_hidden_states", "cap_feats")


class States:
    """The states of all hooks, for each kind of forward.

    Args:
        scale: Factor from the model's timesteps to ``[0, 1000]``; negative where they grow from noise to image.

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
            forward: Its forward.
        """
        names = list(signature(type(model).forward).parameters)[1:]

        def run(*args: Any, **given: Any) -> Any:
            sample, timestep, text = inputs_of(dict(zip(names, args)) | given)
            key = self.forwards.count(sample, timestep, text)
            stated = [hook for hook in self.hooks if hasattr(hook, "state")]
            first = key not in self.kept
            self.timestep = inf if first else self._scaled(self.forwards.timestep or 0.0)
            for hook, state in zip(stated, self.kept.setdefault(key, [type(hook.state)() for hook in stated])):
                hook.state = state
            set_cache_context(model, str(key))
            return forward(*args, **given)

        return run

    def _scaled(self, timestep: float) -> float:
        return timestep * self.scale + (1000 if self.scale < 0 else 0)


def inputs_of(arguments: Mapping[str, Any]) -> tuple[Tensor, Any, Tensor | None]:
    """Return what distinguishes the forwards of a transformer: latents, timestep and text.

    Args:
        arguments: Arguments by name. Lists with one tensor a row, as Z-Image takes them, are put together.
    """
    values: list[Any] = [next((arguments[name] for name in names if name in arguments), None) for names in INPUTS]
    sample, timestep, text = (torch.cat(value) if isinstance(value, list) else value for value in values)
    return sample, timestep, text


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
