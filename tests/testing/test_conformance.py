"""The kit passes good callbacks, and each of its tests fails the callback that it is there for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from composer import StepCallback
from composer.callbacks.progress import Progress
from composer.errors import CallbackError
from composer.testing.conformance import CallbackTests

pytestmark = pytest.mark.usefixtures("one_thread")


class TestProgress(CallbackTests):
    neutral = True

    def make(self):
        return Progress()


class Cutoff(StepCallback):
    def before_step(self, step):
        return replace(step, guidance_scale=1.0) if step.index >= step.total // 2 else None


class TestCutoff(CallbackTests):
    families = ("sd", "sdxl", "sd3")

    def make(self):
        return Cutoff()


def kit(callback: type[StepCallback], **claims) -> CallbackTests:
    return type("Kit", (CallbackTests,), {"make": lambda self: callback(), **claims})()


class Louder(StepCallback):
    def after_step(self, step, latents):
        return latents * 1.1


class Remembers(StepCallback):
    def __init__(self) -> None:
        self.count = 0

    def after_step(self, step, latents):
        self.count += 1
        return latents * (1 + self.count / 100)


class Misspelt(StepCallback):
    def after_steps(self, step, latents):
        return latents

    def after_step(self, step, latents):
        return None


class OneOnly(StepCallback):
    def after_step(self, step, latents):
        assert len(latents) == 1


class FourSteps(StepCallback):
    def after_step(self, step, latents):
        assert step.total == 4


class Idle(StepCallback):
    pass


class KeepsCount(StepCallback):
    """What it counts, all its instances share."""

    shared = torch.zeros(1)

    def before_step(self, step):
        if step.index == 0:
            self.shared.add_(1)
        return replace(step, latents=step.latents + 0.01 * self.shared)


@pytest.mark.parametrize(
    ("callback", "claims", "fails"),
    [
        (Louder, {"neutral": True}, lambda k, folder: k.test_it_works("sd", 1, False, folder)),
        (Remembers, {}, lambda k, folder: k.test_nothing_leaks_from_run_to_run("sd", folder)),
        (Misspelt, {}, lambda k, folder: k.test_it_has_moments_and_no_misspelt_ones()),
        (Idle, {}, lambda k, folder: k.test_it_has_moments_and_no_misspelt_ones()),
        (OneOnly, {}, lambda k, folder: k.test_it_works("sd", 3, False, folder)),
        (FourSteps, {}, lambda k, folder: k.test_it_works("sd", 1, True, folder)),
        (KeepsCount, {}, lambda k, folder: k.test_it_is_left_when_another_fails("sd", folder)),
    ],
)
def test_a_faulty_callback_is_found(callback, claims, fails, tmp_path: Path):
    with pytest.raises((AssertionError, CallbackError)):
        fails(kit(callback, **claims), tmp_path)


def test_what_is_not_claimed_is_skipped(tmp_path):
    with pytest.raises(pytest.skip.Exception, match="does not claim flux"):
        kit(Louder, families=("sd",)).test_it_works("flux", 1, False, tmp_path)
    with pytest.raises(pytest.skip.Exception, match="claims no task of ddpm"):
        kit(Louder, tasks=("inpaint",)).test_it_works("ddpm", 1, False, tmp_path)
