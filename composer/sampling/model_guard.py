"""What callbacks leave behind on the models: found when a run ends, taken away, and named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from composer.callbacks.base import StepCallback
from composer.errors import LeftBehind

#: Libraries whose hooks are their own affair: transformers puts one on each layer when it is first asked for hidden
#: states.
LIBRARIES = ("transformers", "accelerate")
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs")


@contextmanager
def restore_after_run(
    models: Mapping[str, nn.Module], callbacks: Mapping[str, StepCallback], skip: frozenset[str], notes: list[str],
    lost: Callable[[], None],
) -> Iterator[None]:  # fmt: skip
    """Hold callbacks to leaving the models as they were: hooks, attention processors, forwards, modes, layers and
    weights.

    Args:
        skip: callbacks whose leavings are a line in `notes` where they could be taken away.
        lost: called when something can't be put back, so that the models are loaded anew.

    Raises:
        LeftBehind: something was left; what could be put back was.
    """
    before = {name: ModuleSnapshot(model) for name, model in models.items()} if callbacks else {}
    try:
        yield
    except BaseException:  # the first fault is the one to tell
        if _restored(before)[1]:
            lost()
        raise
    left, gone = _restored(before)
    if gone:
        lost()
    if left:
        names = _suspects(callbacks, " ".join(left))
        key = f"callbacks.{names[0]}" if len(names) == 1 else f"callbacks=[{','.join(names)}]"
        error = LeftBehind(key, None, f"left on the models: {'; '.join(left[:3])}: undo it on the way out of `around`")
        if gone or not skip.issuperset(names):
            raise error
        notes.append(str(error))


class Keeping:
    """Around `untouched`: what is left behind is told with what was made, so that the images are not lost. made: set
    once they are.
    """

    made: Any = None

    def __enter__(self) -> Keeping:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, LeftBehind):
            error.made = self.made


def _suspects(callbacks: Mapping[str, StepCallback], left: str) -> list[str]:
    """Callbacks whose module is named in what was left, else all that are not composer's own."""
    modules = {name: type(callback).__module__ for name, callback in callbacks.items()}
    named = [name for name, module in modules.items() if f"({module}." in left]
    return named or [name for name, module in modules.items() if not module.startswith("composer.")] or list(callbacks)


def _restored(before: Mapping[str, ModuleSnapshot]) -> tuple[list[str], bool]:
    """Put the models back; what was found on them, and whether some of it can't be undone."""
    left, gone = [], False
    for name, traits in before.items():
        left += [f"{what} on {name}{place and '.'}{place}" for place, what in traits.restore()]
        changed = traits.changed()
        if changed:
            left.append(f"{changed} in {name}")
            gone = True
    return left, gone


class ModuleSnapshot:
    """All of a model that can be changed without loading it anew, and the marks of what can't be put back."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.modules = dict(model.named_modules())
        self.own = {place: _own(module) for place, module in self.modules.items()}
        self.hooks = {place: _hooks(module) for place, module in self.modules.items()}
        self.versions = _versions(model)

    def restore(self) -> list[tuple[str, str]]:
        """Put back hooks, processors, forwards and modes; (place, what was there) for each."""
        found = []
        for place, module in self.modules.items():
            for kind in HOOKS:
                known, there = self.hooks[place].get(kind, {}), getattr(module, kind)
                known = {**known, **{key: hook for key, hook in there.items() if _library(module, key, hook)}}
                if there.keys() != known.keys():
                    found += [
                        (place, f"a hook ({_whose(hook)})")
                        for key, hook in there.items()
                        if key not in known and callable(hook)
                    ]
                    there.clear()
                    there.update(known)
            if _own(module) != self.own[place]:
                found += [(place, what) for what in _put_back(module, self.own[place])]
        return found

    def changed(self) -> str:
        """Changes that only loading can undo, in words."""
        if self.modules.keys() != dict(self.model.named_modules()).keys():
            return "layers added or taken out"
        after = _versions(self.model)
        return (
            "weights written over"
            if any(after.get(key, version) != version for key, version in self.versions.items())
            else ""
        )


def _library(module: nn.Module, key: int, hook: Any) -> bool:
    """Whether a hook, or the one that a mark of this number belongs to, is a library's own."""
    both = (hook, *(getattr(module, kind).get(key) for kind in HOOKS))
    return any(callable(each) and _whose(each).partition(".")[0] in LIBRARIES for each in both)


def _hooks(module: nn.Module) -> dict[str, dict[int, Any]]:
    return {kind: dict(getattr(module, kind)) for kind in HOOKS if getattr(module, kind)}


def _own(module: nn.Module) -> tuple[Any, Any, bool]:
    """What an instance may have of its own: forward, attention processor, training mode."""
    forward = module.__dict__.get("forward")
    if getattr(forward, "__func__", None) is type(module).forward:
        forward = None  # its class's, tied to the instance, as diffusers' hooks leave it
    return forward, getattr(module, "processor", None), module.training


def _put_back(module: nn.Module, own: tuple[Any, Any, bool]) -> list[str]:
    found, (forward, processor, training) = [], own
    now = _own(module)
    if now[0] != forward:
        found.append(f"another forward ({_whose(now[0])})")
        if forward is None:
            module.__dict__.pop("forward", None)
        else:
            module.forward = forward
    if now[1] is not processor:
        found.append(f"another attention processor ({_whose(now[1])})")
        module.processor = processor
    if now[2] != training:
        found.append("training mode" if now[2] else "evaluation mode")
        module.training = training
    return found


def _versions(model: nn.Module) -> dict[int, int]:
    """How often each weight was written to, by its identity."""
    return {id(weight): weight._version for weight in model.parameters()}


def _whose(thing: Any) -> str:
    """Module and name of a function or an object."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"
