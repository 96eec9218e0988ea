"""Hooks that diffusers puts on modules: caches of ``accel`` and offloading of ``memory``.

diffusers has functions that attach them, but no public one that lists them, removes them or resets their state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffusers.hooks import group_offloading
from diffusers.hooks.hooks import CacheContext, HookRegistry, ModelHook, _set_cache_context

if TYPE_CHECKING:
    from torch import nn

#: Attribute of a module that holds its registry. `HookRegistry.check_if_exists_or_initialize` would create one.
REGISTRY = "_diffusers_hook"
#: Names of the hooks of group offloading, which are constants without a public function that removes them.
GROUP_HOOKS = ("_GROUP_OFFLOADING", "_LAYER_EXECUTION_TRACKER", "_LAZY_PREFETCH_GROUP_OFFLOADING")


def registry_of(module: nn.Module) -> HookRegistry | None:
    """Return the registry of a module's hooks, without creating one.

    Args:
        module: The module.
    """
    return module.__dict__.get(REGISTRY)


def hooks_of(module: nn.Module) -> list[ModelHook]:
    """Return diffusers' hooks on a module.

    Args:
        module: The module.
    """
    registry = registry_of(module)
    return [] if registry is None else list(registry.hooks.values())


def delete_registry(module: nn.Module) -> None:
    """Remove a module's registry: diffusers keeps empty ones, and with one a model is no longer as it was.

    Args:
        module: A module with a registry.
    """
    delattr(module, REGISTRY)


def delete_empty_registries(model: nn.Module) -> None:
    """Remove registries without hooks from a model and its submodules.

    Args:
        model: The model.
    """
    for module in model.modules():
        registry = registry_of(module)
        if registry is not None and not registry.hooks:
            delete_registry(module)


def forget_child_registries(registry: HookRegistry) -> None:
    """Let a registry list the registries below it anew; diffusers lists them once, and later ones get no context.

    Args:
        registry: The registry.
    """
    registry._child_registries_cache = None


def set_cache_context(model: nn.Module, name: str) -> None:
    """Select the state that the hooks of caches use; the public ``cache_context`` resets it at its end.

    Args:
        model: A model with caches.
        name: Name of the state.
    """
    _set_cache_context(model, CacheContext(name))


def remove_group_offloading(model: nn.Module) -> None:
    """Remove all hooks of group offloading from a model, for which diffusers has no function.

    Args:
        model: The model.
    """
    registry = HookRegistry.check_if_exists_or_initialize(model)
    for name in [getattr(group_offloading, constant) for constant in GROUP_HOOKS]:
        registry.remove_hook(name, recurse=True)
    delete_empty_registries(model)
