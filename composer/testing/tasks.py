"""Conformance tests of tasks: inherit `TaskTests`, create the task, and name its values.

from composer.testing.conformance import TaskTests

class TestSeedWalk(TaskTests):
    families = ("sd", "flux")
    values = {"prompt": "a cat", "to_seed": 5, "images": 3}

    def make(self):
        return SeedWalk()
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest
import torch
import yaml

from composer.callbacks.base import Run, StepCallback
from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.config.search_path import packaged_conf
from composer.errors import ComposerError
from composer.records.result import Result
from composer.sampling.sampler import Sampler
from composer.tasks.base import Task
from composer.testing.families import generators, saved
from composer.testing.runs import SIZES, same, tiny_model

#: Values of the keys that every task has.
COMMON = {"steps": 4, "seed": 0, "seed_step": 1, "images": 1}


class TaskTests:
    """Tests that a subclass named `Test…` inherits.

    Attributes:
        families: composer's families whose tiny pipelines it is run with.
        values: Values of the root keys, beside `steps=4 seed=0`; keys of the task that are not named are null.
        option: Its option file, if it is to be checked.
    """

    families: ClassVar[tuple[str, ...]] = ("sd",)
    values: ClassVar[Mapping[str, Any]] = {}
    option: ClassVar[Path | None] = None

    def make(self) -> Task:
        """Create the task.

        Returns:
            A new task.
        """
        raise NotImplementedError(f"{type(self).__name__} does not create its task")

    def test_its_families_can_do_it(self) -> None:
        """The families that it names meet the conditions that it declares."""
        task = self.make()
        for family in self.families:
            checkpoint = checkpoint_of(family)
            assert checkpoint.family_info.conditioned_on == task.conditioned_on, family
            assert checkpoint.does(task.roles), family

    def test_requests_are_complete_and_repeat(self) -> None:
        """Requests of the same values are equal, and have a prompt for each image and a size that the model accepts."""
        task = self.make()
        for family in self.families:
            request = self._request(task, family)
            assert request == self._request(task, family), "the same values make another request"
            count = request.batch
            assert len(request.prompts) == len(request.negative_prompts) == count >= 1
            assert 0 <= request.steps_skipped < request.steps
            multiple = checkpoint_of(family).size_multiple
            assert not request.height % multiple and not request.width % multiple

    def test_an_unknown_key_is_refused_by_name(self) -> None:
        with pytest.raises(ComposerError) as error:
            self.make().request({**self._values(), "no_such_key": 1}, checkpoint_of(self.families[0]))
        assert error.value.key == "no_such_key"

    def test_the_option_file_declares_its_keys(self) -> None:
        if self.option is None:
            pytest.skip("no option file is named")
        text = self.option.read_text("utf-8")
        declared = yaml.safe_load(text)
        if "_base" in declared.get("defaults", ()):
            declared = yaml.safe_load((packaged_conf() / "task" / "_base.yaml").read_text("utf-8")) | declared
        assert text.startswith("# @package _global_"), "its keys would not be root keys"
        assert declared["task"]["_target_"].endswith(f".{type(self.make()).__name__}")
        missing = [key for key in self.make().keys if key not in declared]
        assert not missing, f"the option file does not declare {missing}"

    def test_it_starts_with_latents_of_the_models_layout(self) -> None:
        """Start latents have the shape and dtype of the family's noise, and are finite."""
        task = self.make()
        for family in self.families:
            model, request = tiny_model(family), self._request(task, family)
            of = model.family()
            sampler = Sampler(model.pipeline(task, {}).make_scheduler(), generators(*request.seeds), {})
            of.set_timesteps(sampler.scheduler, request, of.vae_scale_factor, "cpu")
            with torch.no_grad():
                start = task.start(of, sampler, request)
            assert start.latents.shape == of.start_noise(request, generators(*request.seeds)).shape
            assert torch.isfinite(start.latents).all() and start.latents.dtype == of.dtype

    def test_it_runs_and_repeats(self) -> None:
        """It yields an image for each seed, of one size, and keeps no state between runs."""
        task = self.make()
        for family in self.families:
            request = self._request(task, family)
            first = self._run(task, family)
            assert len(first.images) == len(first.seeds) == request.batch
            assert len({image.size for image in first.images}) == 1
            assert same(self._run(task, family), first), f"{family}: the same task generates other images again"
            assert same(self._run(self.make(), family), first), f"{family}: a new task generates other images"

    def test_a_second_order_scheduler_fits(self) -> None:
        assert self._run(self.make(), self.families[0], heun=True).iterations > 1

    def test_callbacks_see_every_iteration(self) -> None:
        """Callbacks are called for each step of each pass."""
        for family in self.families:
            counter = Counter()
            result = self._run(self.make(), family, counter)
            assert counter.steps == result.iterations and counter.runs >= 1

    def _values(self) -> dict[str, Any]:
        return {**dict.fromkeys(self.make().keys), **COMMON, **self.values}

    def _request(self, task: Task, family: str) -> Request:
        return task.request(self._values(), checkpoint_of(family))

    def _run(self, task: Task, family: str, counter: StepCallback | None = None, heun: bool = False) -> Result:
        callbacks = {"counter": counter} if counter else {}
        return tiny_model(family).pipeline(task, callbacks, heun=heun)(self._request(task, family))


class Counter(StepCallback):
    """Count runs and steps; change nothing.

    Attributes:
        runs: Number of runs that `around` was entered for.
        steps: Number of steps of all runs.
    """

    def __init__(self) -> None:
        self.runs, self.steps = 0, 0

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        self.runs += 1
        yield

    def after_step(self, step: Any, latents: torch.Tensor) -> None:
        self.steps += 1


@cache
def checkpoint_of(family: str) -> Checkpoint:
    """Describe the tiny checkpoint of one of composer's families; its files are removed afterwards.

    Args:
        family: A key of `SIZES`.

    Returns:
        The checkpoint.
    """
    assert family in SIZES
    with TemporaryDirectory() as folder:
        return saved(tiny_model(family), Path(folder))
