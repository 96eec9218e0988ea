"""Changes that callbacks left on the models: found when a run ends, undone, and named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple

from torch import nn

from composer.callbacks.base import StepCallback
from composer.errors import LeftBehind

#: Libraries whose hooks are tolerated: transformers puts one on each layer when hidden states are first requested.
LIBRARIES = ("transformers", "accelerate")
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs")


@contextmanager
def restore_after_run(
    models: Mapping[str, nn.Module], callbacks: Mapping[str, StepCallback], skip_on_error: frozenset[str],
    notes: list[str], on_unrecoverable: Callable[[], None],
) -> Iterator[None]:  # fmt: skip
    """Restore models after a run and reject callbacks that modified them.

    Covers hooks, attention processors, replaced ``forward`` methods, train/eval mode, submodules and weights.

    Args:
        models: Component name → model.
        callbacks: Callbacks active in the run, by option name. Nothing is tracked if empty.
        skip_on_error: Callbacks for which an undone change is a note instead of an error.
        notes: Receives one line per undone change.
        on_unrecoverable: Called if a change cannot be undone; must drop the cached models.

    Yields:
        Nothing.

    Raises:
        LeftBehind: A callback left a change behind. All changes that can be undone have been.
    """
    before = {name: ModuleSnapshot(model) for name, model in models.items()} if callbacks else {}
    try:
        yield
    except BaseException:  # the first fault is the one to report
        if _restore(before)[1]:
            on_unrecoverable()
        raise
    changes, unrecoverable = _restore(before)
    if unrecoverable:
        on_unrecoverable()
    if changes:
        names = _suspects(callbacks, " ".join(changes))
        key = f"callbacks.{names[0]}" if len(names) == 1 else f"callbacks=[{','.join(names)}]"
        reason = f"left on the models: {'; '.join(changes[:3])}: undo it on the way out of `around`"
        error = LeftBehind(key, None, reason)
        if unrecoverable or not skip_on_error.issuperset(names):
            raise error
        notes.append(str(error))


class OutcomeKeeper:
    """Context manager around `restore_after_run` that saves the outcome of a pass when changes were left behind.

    Attributes:
        outcome: Set once the images are there; attached to a `LeftBehind` error.
    """

    outcome: Any = None

    def __enter__(self) -> OutcomeKeeper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        if isinstance(error, LeftBehind):
            error.outcome = self.outcome


def _suspects(callbacks: Mapping[str, StepCallback], changes: str) -> list[str]:
    """Callbacks whose module is named in the changes, otherwise all that are not composer's own."""
    modules = {name: type(callback).__module__ for name, callback in callbacks.items()}
    named = [name for name, module in modules.items() if f"({module}." in changes]
    return named or [name for name, module in modules.items() if not module.startswith("composer.")] or list(callbacks)


def _restore(before: Mapping[str, ModuleSnapshot]) -> tuple[list[str], bool]:
    """Restore models; the changes in words, and whether some can't be undone."""
    changes, unrecoverable = [], False
    for name, snapshot in before.items():
        changes += [f"{change} on {name}{path and '.'}{path}" for path, change in snapshot.restore()]
        permanent = snapshot.permanent_changes()
        if permanent:
            changes.append(f"{permanent} in {name}")
            unrecoverable = True
    return changes, unrecoverable


class ModuleState(NamedTuple):
    """State of one module that lives on the instance.

    Attributes:
        forward: Replaced ``forward`` method, or ``None``.
        processor: Attention processor, or ``None``.
        training: Whether it is in training mode.
    """

    forward: Any
    processor: Any
    training: bool


class ModuleSnapshot:
    """State of a model that can be restored without loading it again, and versions of its weights.

    Args:
        model: Model in its original state.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.modules = dict(model.named_modules())
        self.states = {path: _state(module) for path, module in self.modules.items()}
        self.hooks = {path: _hooks(module) for path, module in self.modules.items()}
        self.versions = _versions(model)

    def restore(self) -> list[tuple[str, str]]:
        """Restore hooks, attention processors, forwards and modes.

        Returns:
            Path of the submodule and description, for each change.
        """
        changes = []
        for path, module in self.modules.items():
            changes += [(path, change) for change in _restore_hooks(module, self.hooks[path])]
            if _state(module) != self.states[path]:
                changes += [(path, change) for change in _restore_state(module, self.states[path])]
        return changes

    def permanent_changes(self) -> str:
        """Describe changes that only loading can undo.

        Returns:
            A description, empty without such changes.
        """
        if self.modules.keys() != dict(self.model.named_modules()).keys():
            return "layers added or taken out"
        after = _versions(self.model)
        written = any(after.get(key, version) != version for key, version in self.versions.items())
        return "weights written over" if written else ""


def _restore_hooks(module: nn.Module, before: Mapping[str, Mapping[int, Any]]) -> list[str]:
    """Remove hooks that a run added; a description of each."""
    changes = []
    for kind in HOOKS:
        hooks = getattr(module, kind)
        kept = {**before.get(kind, {}), **{key: hook for key, hook in hooks.items() if _of_library(module, key, hook)}}
        if hooks.keys() != kept.keys():
            added = [hook for key, hook in hooks.items() if key not in kept and callable(hook)]
            changes += [f"a hook ({_qualified_name(hook)})" for hook in added]
            hooks.clear()
            hooks.update(kept)
    return changes


def _of_library(module: nn.Module, key: int, hook: Any) -> bool:
    """Whether a hook, or the one that a mark of this number belongs to, is a library's own."""
    candidates = (hook, *(getattr(module, kind).get(key) for kind in HOOKS))
    return any(callable(hook) and _qualified_name(hook).partition(".")[0] in LIBRARIES for hook in candidates)


def _hooks(module: nn.Module) -> dict[str, dict[int, Any]]:
    return {kind: dict(getattr(module, kind)) for kind in HOOKS if getattr(module, kind)}


def _state(module: nn.Module) -> ModuleState:
    forward = module.__dict__.get("forward")
    if getattr(forward, "__func__", None) is type(module).forward:
        forward = None  # its class's, tied to the instance, as diffusers' hooks leave it
    return ModuleState(forward, getattr(module, "processor", None), module.training)


def _restore_state(module: nn.Module, before: ModuleState) -> list[str]:
    """Restore a module's own state; a description of each change."""
    changes, after = [], _state(module)
    if after.forward != before.forward:
        changes.append(f"another forward ({_qualified_name(after.forward)})")
        module.__dict__.pop("forward", None)
        if before.forward is not None:
            setattr(module, "forward", before.forward)  # noqa: B010  # a plain assignment to a method is a type error
    if after.processor is not before.processor:
        changes.append(f"another attention processor ({_qualified_name(after.processor)})")
        module.processor = before.processor
    if after.training != before.training:
        changes.append("training mode" if after.training else "evaluation mode")
        module.training = before.training
    return changes


def _versions(model: nn.Module) -> dict[int, int]:
    """Number of writes to each weight, by its identity."""
    return {id(weight): weight._version for weight in model.parameters()}


def _qualified_name(thing: Any) -> str:
    """Module and name of a function, or of an object's class."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"
