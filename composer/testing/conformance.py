"""The conformance kit: inherit `…Tests` of what you write, and pytest runs what each must pass.

`CallbackTests` are here, `FamilyTests`, `GuidanceTests`, `MetricTests`, `OptionTests`, `TaskTests` and `ToolTests` in
modules of their own.

from composer.testing.conformance import CallbackTests
from my_package import Sharpen

class TestSharpen(CallbackTests):
    def make(self):
        return Sharpen(amount=0.2)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from composer.callbacks.base import Run, Step, StepCallback, StopDenoising
from composer.errors import CallbackError
from composer.sampling.hooks import MOMENTS
from composer.testing.families import FamilyTests
from composer.testing.guidance import GuidanceTests
from composer.testing.metrics import MetricTests
from composer.testing.options import OptionTests
from composer.testing.runs import SIZES, run, same, tasks_of
from composer.testing.tasks import TaskTests
from composer.testing.tools import ToolTests

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "CallbackTests", "Fails", "FamilyTests", "GuidanceTests", "MetricTests", "OptionTests", "Stop", "TaskTests",
    "ToolTests", "Watch", "same",
]  # fmt: skip


class CallbackTests:
    """Tests that a subclass named `Test…` inherits.

    Attributes:
        neutral: Whether the callback only reads; images must then be the same to the bit.
        families: Families that it claims to work with; None for all of the tiny pipelines'.
        tasks: Tasks that it claims to work with; None for all of a family's.
    """

    neutral: ClassVar[bool] = False
    families: ClassVar[tuple[str, ...] | None] = None
    tasks: ClassVar[tuple[str, ...] | None] = None

    def make(self) -> StepCallback:
        """Create a new callback.

        Returns:
            The callback, which has not been used.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how its callback is made")

    def test_it_has_moments_and_no_misspelt_ones(self) -> None:
        """It overrides a method of the protocol, and has no method with a similar but unknown name."""
        callback = self.make()
        known = {"around", *MOMENTS}
        observed = {
            name
            for name in dir(callback)
            if name.startswith(("before_", "after_", "around")) and callable(getattr(callback, name))
        }
        assert observed <= known, f"these are called by nobody: {sorted(observed - known)}"
        assert any(getattr(type(callback), moment) is not getattr(StepCallback, moment) for moment in known), (
            "it has no moment of its own"
        )

    @pytest.mark.parametrize("heun", [False, True], ids=["", "heun"])
    @pytest.mark.parametrize("batch", [1, 3])
    @pytest.mark.parametrize("family", SIZES)
    def test_it_works(self, family: str, batch: int, heun: bool, tmp_path: Path) -> None:
        """It runs with every family and task that it claims, and changes no image if it is neutral."""
        for task in self._claimed(family):
            changed = run(family, {"callback": self.make()}, folder=tmp_path / task, task=task, batch=batch, heun=heun)
            assert len(changed.images) == batch
            if self.neutral:
                plain = run(family, {}, task=task, batch=batch, heun=heun)
                assert same(changed, plain), f"{task}: it is declared neutral and changes the image"

    @pytest.mark.parametrize("family", SIZES)
    def test_nothing_leaks_from_run_to_run(self, family: str, tmp_path: Path) -> None:
        """Reused, also after a run of another size, it generates the same images as a new callback."""
        for task in self._claimed(family)[:1]:
            used = self.make()
            first = run(family, {"callback": used}, task=task, folder=tmp_path / "a")
            run(family, {"callback": used}, task=task, batch=3, steps=3, folder=tmp_path / "b")
            again = run(family, {"callback": used}, task=task, folder=tmp_path / "c")
            assert same(first, again), "it remembers an earlier run"

    @pytest.mark.parametrize("family", SIZES)
    def test_it_survives_an_early_stop(self, family: str, tmp_path: Path) -> None:
        """It works in a run that another callback stops after two of its steps."""
        for task in self._claimed(family)[:1]:
            result = run(family, {"callback": self.make(), "stop": Stop()}, task=task, folder=tmp_path)
            assert len(result.images) == 1

    @pytest.mark.parametrize("family", SIZES)
    def test_it_is_left_when_another_fails(self, family: str, tmp_path: Path) -> None:
        """`around` releases its resources if another callback fails, and the callback can be used again."""
        for task in self._claimed(family)[:1]:
            used, watch = self.make(), Watch()
            with pytest.raises(CallbackError, match="a fault of its own"):
                run(family, {"watch": watch, "fails": Fails(), "callback": used}, task=task, folder=tmp_path / "a")
            assert watch.left, "the run did not end as it should"
            after = run(family, {"callback": used}, task=task, folder=tmp_path / "b")
            assert same(after, run(family, {"callback": self.make()}, task=task, folder=tmp_path / "c")), (
                "the failed run left something behind"
            )

    def _claimed(self, family: str) -> tuple[str, ...]:
        """Tasks to run with a family; the test is skipped if there are none."""
        if self.families is not None and family not in self.families:
            pytest.skip(f"it does not claim {family}")
        claimed = tuple(task for task in tasks_of(family) if self.tasks is None or task in self.tasks)
        if not claimed:
            pytest.skip(f"it claims no task of {family}")
        return claimed


class Stop(StepCallback):
    """Stop the run after its second step."""

    def after_step(self, step: Step, latents: Tensor) -> None:
        if step.index == 1:
            raise StopDenoising


class Fails(StepCallback):
    """Raise an error after the second step."""

    media = frozenset({"image", "clip", "sound"})

    def after_step(self, step: Step, latents: Tensor) -> None:
        if step.index == 1:
            raise ValueError("a fault of its own")


class Watch(StepCallback):
    """Record whether `around` was left.

    Attributes:
        left: True after the run.
    """

    left = False

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        try:
            yield
        finally:
            self.left = True
