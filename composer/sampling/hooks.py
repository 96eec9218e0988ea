"""Calls the callbacks of a run in their order, and holds what they do to the rules."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from math import isfinite
from typing import TYPE_CHECKING, Any

from composer.callbacks.base import Run, Step, StepCallback, StopDenoising, bound_to
from composer.config.plugins import provider
from composer.errors import CallbackError, ComposerError

if TYPE_CHECKING:
    from torch import Tensor

    from composer.media.medium import Medium

MOMENTS = ("before_step", "after_predict", "after_step", "after_decode")


class ModifiedInputError(CallbackError):
    """A callback changed a tensor behind the run's back."""


class Hooks:
    """The callbacks of one run of `total` iterations, by name.

    skip: names of those that are left out for the rest of the run when they fail; `notes` gets a line about each.
    """

    def __init__(
        self, callbacks: Mapping[str, StepCallback], total: int, skip: frozenset[str] = frozenset(),
        notes: list[str] | None = None
    ) -> None:  # fmt: skip
        self.callbacks, self.total, self.skip, self.notes = callbacks, total, skip, [] if notes is None else notes
        # Only overridden moments are called: a callback costs nothing where it does nothing.
        self.moments = {
            moment: [
                (name, getattr(callback, moment)) for name, callback in callbacks.items() if overrides(callback, moment)
            ]
            for moment in MOMENTS
        }

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        """Enter all callbacks, from the first step until the images are decoded; leave them in the opposite order."""
        with ExitStack() as stack:
            for name, callback in self.callbacks.items():
                stack.enter_context(bound_to(callback, run))
                if overrides(callback, "around"):
                    try:
                        stack.enter_context(self._inside(name, callback, run))
                    except CallbackError as error:
                        self._leave_out(name, error)
            yield

    def before(self, step: Step) -> Step:
        for name, hook in self.moments["before_step"]:
            try:
                version = step.latents._version
                changed = self._call(name, "before_step", step.index, hook, step)
                if version != step.latents._version:
                    raise self._wrote(name, "before_step", step.index)
                if changed is not None:
                    if not isinstance(changed, Step):
                        raise self._error(
                            name, "before_step", step.index, f"returned {kind(changed)}, which is no Step"
                        )
                    self._fits(name, "before_step", step, step.latents, changed.latents)
                    self._check_step(name, step, changed)
                    step = changed
            except CallbackError as error:
                self._leave_out(name, error)
        return step

    def edit(self, moment: str, step: Step, tensor: Tensor) -> Tensor:
        for name, hook in self.moments[moment]:
            try:
                versions = tensor._version, step.latents._version
                try:
                    changed = self._call(name, moment, step.index, hook, step, tensor)
                except StopDenoising as stop:
                    if stop.latents is not None:
                        self._fits(name, moment, step, tensor, stop.latents)
                    raise
                if versions != (tensor._version, step.latents._version):
                    raise self._wrote(name, moment, step.index)
                if changed is not None:
                    self._fits(name, moment, step, tensor, changed)
                    tensor = changed
            except CallbackError as error:
                self._leave_out(name, error)
        return tensor

    def finish(self, run: Run, media: Sequence[Medium]) -> list[Medium]:
        """Let callbacks change the finished media: images, clips or sounds.

        Args:
            run: The run that ends.
            media: One for each seed.

        Returns:
            As many media of the same kind.

        Raises:
            CallbackError: A callback failed, or returned something else.
        """
        finished = list(media)
        for name, hook in self.moments["after_decode"]:
            try:
                changed = self._call(name, "after_decode", None, hook, run, [*finished])
                if changed is not None:
                    self._check_media(name, finished, changed)
                    finished = changed
            except CallbackError as error:
                self._leave_out(name, error)
        return finished

    @contextmanager
    def _inside(self, name: str, callback: StepCallback, run: Run) -> Iterator[None]:
        """One callback's `around`; its errors bear its name on the way in and on the way out."""
        manager = self._call(name, "around", None, callback.around, run)
        self._call(name, "around", None, type(manager).__enter__, manager)
        try:
            yield
        except BaseException:  # nor can it be swallowed: there would be no image
            self._call(name, "around", None, type(manager).__exit__, manager, *sys.exc_info())
            raise
        try:
            self._call(name, "around", None, type(manager).__exit__, manager, None, None, None)
        except CallbackError as error:
            self._leave_out(name, error)

    def _leave_out(self, name: str, error: CallbackError) -> None:
        """Let a failure end the run, or only the callback's part in it."""
        if name not in self.skip or isinstance(error, ModifiedInputError):  # what was written over is gone
            raise error
        self.notes.append(f"left out for the rest of the run: {error}")
        for moment in MOMENTS:  # new lists: the old one is being walked through
            self.moments[moment] = [entry for entry in self.moments[moment] if entry[0] != name]

    def _call(self, name: str, moment: str, index: int | None, hook: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return hook(*arguments)
        except (ComposerError, KeyboardInterrupt):
            raise
        except (Exception, SystemExit) as error:
            ends_the_run = isinstance(error, StopDenoising) and moment == "after_step"
            passes_through = moment == "around" and error in arguments  # what something else raised
            if ends_the_run or passes_through:
                raise
            raise self._error(name, moment, index, f"{type(error).__name__}: {error}") from error

    def _fits(self, name: str, moment: str, step: Step, before: Tensor, after: Any) -> None:
        """Refuse a returned value that is no finite tensor of the same shape, dtype and device."""
        if not hasattr(after, "isfinite"):
            raise self._error(name, moment, step.index, f"returned {kind(after)}, which is no tensor")
        for trait in ("shape", "dtype", "device"):
            expected, returned = getattr(before, trait), getattr(after, trait)
            if expected != returned:
                shown = [tuple(value) if trait == "shape" else value for value in (returned, expected)]
                raise self._error(name, moment, step.index, f"returned {trait} {shown[0]} for {shown[1]}")
        if after is not before and not after.isfinite().all():
            raise self._error(name, moment, step.index, "returned numbers that are not finite")

    def _check_media(self, name: str, before: Sequence[Medium], after: Any) -> None:
        """As many as there were, of the same kind; images are RGB, which every format can hold."""
        from composer.media.medium import kind_of

        expected = kind_of(before[0]) if before else "image"
        if not isinstance(after, list) or len(after) != len(before):
            many = f" of {len(after)}" if isinstance(after, list) else ""
            raise self._error(name, "after_decode", None, f"returned {kind(after)}{many} for {len(before)} {expected}s")
        for medium in after:
            mode = getattr(medium, "mode", None)
            if expected == "image" and mode != "RGB":
                what = kind(medium) if mode is None else f"an image of mode {mode}"
                raise self._error(name, "after_decode", None, f"returned {what}, which is no RGB image of PIL's")
            if kind_of(medium) != expected:
                raise self._error(name, "after_decode", None, f"returned {kind(medium)}, which is no {expected}")

    def _check_step(self, name: str, before: Step, after: Step) -> None:
        """Refuse a changed step whose guidance or conditioning is not finite, or of another batch size."""
        if not isfinite(after.guidance_scale) or not isfinite(after.embedded_guidance):
            raise self._error(name, "before_step", before.index, "returned a guidance that is not finite")
        if after.conditioning is before.conditioning:
            return
        for branch in (after.conditioning.positive, after.conditioning.negative):
            for tensor in () if branch is None else (branch.hidden, branch.pooled):
                if tensor is not None and len(tensor) != len(before.latents):
                    raise self._error(
                        name,
                        "before_step",
                        before.index,
                        f"returned conditioning of {len(tensor)} for {len(before.latents)}",
                    )
                if tensor is not None and not tensor.isfinite().all():
                    raise self._error(name, "before_step", before.index, "returned conditioning that is not finite")

    def _wrote(self, name: str, moment: str, index: int) -> ModifiedInputError:
        error = self._error(
            name, moment, index, "wrote into a tensor that it was handed: return a changed copy instead"
        )
        return ModifiedInputError(error.key, None, error.reason)

    def _error(self, name: str, moment: str, index: int | None, reason: str) -> CallbackError:
        where = f"failed in {moment}" + ("" if index is None else f", step {index + 1}/{self.total}")
        return CallbackError(f"callbacks.{name}", None, f"{origin(self.callbacks[name])}{where}: {reason}")


def overrides(callback: StepCallback, moment: str) -> bool:
    """Whether a callback has a moment of its own."""
    return getattr(type(callback), moment, None) is not getattr(StepCallback, moment)


def kind(value: Any) -> str:
    return f"{'an' if type(value).__name__[0] in 'aeiou' else 'a'} {type(value).__name__}"


def origin(callback: StepCallback) -> str:
    """`(distribution 1.2) ` of a callback that a plugin brought."""
    whose = provider(type(callback).__module__)
    return f"({whose}) " if whose else ""
