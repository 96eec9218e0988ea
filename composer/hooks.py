"""Calls the callbacks of a run in their order, and holds what they return to the rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from composer.callbacks.base import Run, Step, StepCallback, StopDenoising
from composer.errors import CallbackError, ComposerError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

MOMENTS = ("before_step", "after_predict", "after_step", "after_decode")


class Hooks:
    """The callbacks of one run of `total` iterations, by name."""

    def __init__(self, callbacks: Mapping[str, StepCallback], total: int) -> None:
        self.callbacks, self.total = callbacks, total
        # Only overridden moments are called: a callback costs nothing where it does nothing.
        self.moments = {
            moment: [(name, getattr(callback, moment)) for name, callback in callbacks.items() if overrides(callback, moment)]
            for moment in MOMENTS
        }

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        """Enter all callbacks, from the first step until the pictures are decoded; leave them in the opposite order."""
        with ExitStack() as stack:
            for name, callback in self.callbacks.items():
                self._call(name, "around", None, lambda owner: stack.enter_context(owner.around(run)), callback)
            yield

    def before(self, step: Step) -> Step:
        for name, hook in self.moments["before_step"]:
            changed = self._call(name, "before_step", step.index, hook, step)
            if changed is not None:
                self._same(name, "before_step", step, step.latents, getattr(changed, "latents", None))
                step = changed
        return step

    def edit(self, moment: str, step: Step, tensor: Tensor) -> Tensor:
        for name, hook in self.moments[moment]:
            try:
                changed = self._call(name, moment, step.index, hook, step, tensor)
            except StopDenoising as stop:
                if stop.latents is not None:
                    self._same(name, moment, step, tensor, stop.latents)
                raise
            if changed is not None:
                self._same(name, moment, step, tensor, changed)
                tensor = changed
        return tensor

    def finish(self, run: Run, images: list[Image]) -> list[Image]:
        for name, hook in self.moments["after_decode"]:
            images = self._call(name, "after_decode", None, hook, run, images) or images
        return images

    def _call(self, name: str, moment: str, index: int | None, hook: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return hook(*arguments)
        except ComposerError:
            raise
        except Exception as error:
            if isinstance(error, StopDenoising) and moment == "after_step":
                raise
            raise CallbackError(f"callbacks.{name}", None, f"{self._where(moment, index)}: {type(error).__name__}: {error}") from error

    def _same(self, name: str, moment: str, step: Step, before: Tensor, after: Any) -> None:
        traits = [(trait, getattr(before, trait), getattr(after, trait, None)) for trait in ("shape", "dtype", "device")]
        for trait, wanted, found in traits:
            if wanted != found:
                shown = tuple(wanted) if trait == "shape" else wanted
                got = "no tensor" if found is None else tuple(found) if trait == "shape" else found
                raise CallbackError(f"callbacks.{name}", None, f"{self._where(moment, step.index)}: returned {trait} {got} for {shown}")

    def _where(self, moment: str, index: int | None) -> str:
        return f"failed in {moment}" + ("" if index is None else f", step {index + 1}/{self.total}")


def overrides(callback: StepCallback, moment: str) -> bool:
    """Whether a callback has a moment of its own."""
    return getattr(type(callback), moment, None) is not getattr(StepCallback, moment)
