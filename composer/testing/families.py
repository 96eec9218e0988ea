"""Conformance tests of model families: inherit `FamilyTests`, name the info, and build a tiny pipeline.

from composer.testing.conformance import FamilyTests

class TestPixArt(FamilyTests):
    info = "composer_pixart.info:INFO"
    side = 64

    def make(self):
        return tiny_pipeline()
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image

from composer.callbacks.base import Run, Step, StepCallback
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.detection import fits
from composer.checkpoints.find import find_checkpoint
from composer.checkpoints.layouts import HOSTED, families
from composer.config.spec import ModelSpec
from composer.families.base import Family
from composer.testing.runs import PROMPTS, TinyModel, same, task_named, tasks_with

#: What a recording callback must note in a run of two steps, in order.
MOMENTS = ["enter", *["before_step", "after_predict", "after_step"] * 2, "after_decode", "leave"]
#: Libraries that an info must not import.
HEAVY = ("torch", "diffusers", "transformers")


class FamilyTests:
    """Tests that a subclass named `Test…` inherits.

    Attributes:
        info: The `FamilyInfo`, as `module:NAME`.
        side: Height and width of the tiny pipeline's images, in pixels.
        tasks: composer's tasks that the family can do; None for all that fit what it is conditioned on.
    """

    info: ClassVar[str]
    side: ClassVar[int]
    tasks: ClassVar[tuple[str, ...] | None] = None

    def make(self) -> Any:
        """Build a pipeline with tiny random models.

        Returns:
            A diffusers pipeline of the class that the info names.
        """
        raise NotImplementedError(f"{type(self).__name__} does not build a pipeline")

    def expected(self, pipe: Any, prompts: tuple[str, ...], steps: int, scale: float) -> list[Image.Image] | None:
        """Generate with diffusers' own pipeline and seeds 0, 1, …, as the reference of `test_it_equals_diffusers`.

        Args:
            pipe: Result of `make`.
            prompts: One text an image; without meaning for a family that takes none.
            steps: Number of steps.
            scale: Guidance scale.

        Returns:
            One image a prompt, or `None` if there is no reference.
        """
        return None

    @pytest.fixture
    def model(self) -> TinyModel:
        """The tiny pipeline, built once for the class."""
        return _model_of(type(self))  # type: ignore[arg-type]  # classes are hashable

    def test_its_info_imports_no_torch(self) -> None:
        module, _, name = self.info.partition(":")
        code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == "[]", f"reading {module}.{name} imports {done.stdout}{done.stderr[-500:]}"

    def test_its_checkpoints_are_recognised(self, model: TinyModel, tmp_path: Path) -> None:
        """Its checkpoints are detected by its own info, and by no other family's."""
        info, checkpoint = model.info, saved(model, tmp_path)
        assert fits(info, checkpoint.classes, checkpoint.configs), "its requires, excludes or denoiser do not fit"
        assert checkpoint.pipeline in info.pipelines, f"its info does not list {checkpoint.pipeline}"
        assert checkpoint.family == (info.name if info.name in families() else HOSTED)
        assert self.side % (checkpoint.vae_scale_factor * info.size_multiple) == 0, (
            "its side is none that its models can generate"
        )

    def test_it_is_a_complete_family(self, model: TinyModel) -> None:
        """It implements all methods, and its attributes cannot be set."""
        family = model.family()
        missing = [name for name in dir(Family) if not name.startswith("_") and not hasattr(type(family), name)]
        assert not set(missing) - {"pipe", "settings", "depth"}, f"it lacks {missing}"
        with pytest.raises(AttributeError):
            family.pipe = None

    @torch.no_grad()
    def test_noise_comes_from_each_images_generator(self, model: TinyModel) -> None:
        """Noise of an image depends on its own seed only, not on its batch."""
        family, task = model.family(), self._tasks(model)[0]
        batch = family.start_noise(model.request(task, batch=2), generators(0, 1))
        alone = family.start_noise(model.request(task), generators(1))
        assert torch.equal(batch[1:], alone), "image 1 of a batch begins from other noise than alone"
        assert batch.dtype == family.dtype

    @torch.no_grad()
    def test_images_become_latents_and_images_again(self, model: TinyModel) -> None:
        family, task = model.family(), self._tasks(model)[0]
        request = model.request(task, batch=2)
        noise = family.start_noise(request, generators(0, 1))
        pixels = torch.zeros(2, 3, self.side, self.side)
        latents = family.encode_image(pixels, generators(0, 1))
        assert latents.shape == noise.shape and torch.isfinite(latents).all()
        mask = family.scale_mask(torch.ones(1, 1, self.side, self.side))
        assert (mask * latents).shape == latents.shape and (mask == 1).all()
        decoded = family.decode(latents, request)
        assert [image.size for image in decoded.images] == [(self.side, self.side)] * 2
        assert same_images(decoded.images, family.decode(latents, request).images), "decoding changes it"

    @torch.no_grad()
    def test_texts_are_encoded_row_by_row(self, model: TinyModel) -> None:
        if not model.info.takes_prompt:
            pytest.skip("it takes no prompt")
        family, request = model.family(), model.request("text2img", batch=3)
        with_negative, without = family.encode(request, True), family.encode(request, False)
        assert without.negative is None and with_negative.negative is not None
        assert len(with_negative.positive.hidden) == len(with_negative.negative.hidden) == 3
        assert with_negative.positive.hidden.shape[1] == len(family.tokens(PROMPTS[0])), "tokens and positions differ"

    def test_predictions_are_of_the_latents_shape(self, model: TinyModel) -> None:
        """Predictions have the shape of the latents."""
        recorder, task = Recorder(), self._tasks(model)[0]
        request = model.request(task, batch=2)
        model.pipeline(task_named(task), {"recorder": recorder})(request)
        assert recorder.shapes == {tuple(model.family().start_noise(request, generators(0, 1)).shape)}

    @pytest.mark.parametrize("batch", [1, 3])
    def test_it_runs_every_task(self, model: TinyModel, batch: int) -> None:
        """Every task yields an image for each prompt, of the requested size."""
        for task in self._tasks(model):
            result = model.pipeline(task_named(task), {})(model.request(task, batch=batch))
            assert [image.size for image in result.images] == [(self.side, self.side)] * batch, task

    def test_a_second_order_scheduler_fits(self, model: TinyModel) -> None:
        task = self._tasks(model)[0]
        result = model.pipeline(task_named(task), {}, heun=True)(model.request(task, steps=3))
        assert result.iterations > 3

    def test_callbacks_have_every_moment(self, model: TinyModel) -> None:
        recorder, task = Recorder(), self._tasks(model)[0]
        model.pipeline(task_named(task), {"recorder": recorder})(model.request(task, steps=2))
        assert recorder.calls == MOMENTS

    def test_nothing_leaks_from_run_to_run(self, model: TinyModel) -> None:
        """A run repeats after one of another task and batch size."""
        tasks = self._tasks(model)
        first, other = (model.pipeline(task_named(task), {}) for task in (tasks[0], tasks[-1]))
        before = first(model.request(tasks[0]))
        other(model.request(tasks[-1], batch=3, steps=3))
        assert same(first(model.request(tasks[0])), before), "it remembers an earlier run"

    def test_it_equals_diffusers(self, model: TinyModel) -> None:
        """Images equal those of `expected`, bit for bit."""
        task, steps = self._tasks(model)[0], 4
        request = model.request(task, batch=2, steps=steps)
        guidance = model.guidance()
        images = self.expected(model.pipe, request.prompts, steps, guidance.scale)
        if images is None:
            pytest.skip("it has no reference")
        assert same_images(model.pipeline(task_named(task), {})(request).images, images)

    def _tasks(self, model: TinyModel) -> tuple[str, ...]:
        tasks = tasks_with(model.info) if self.tasks is None else self.tasks
        return tasks or pytest.skip("none of composer's tasks fits it")


class Recorder(StepCallback):
    """Record calls and the shapes of predictions; change nothing.

    Attributes:
        calls: Names of the called methods, and `enter` and `leave` of `around`.
        shapes: Shapes of all predictions.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.shapes: set[tuple[int, ...]] = set()

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        self.calls.append("enter")
        yield
        self.calls.append("leave")

    def before_step(self, step: Step) -> None:
        self.calls.append("before_step")

    def after_predict(self, step: Step, prediction: torch.Tensor) -> None:
        self.calls.append("after_predict")
        self.shapes.add(tuple(prediction.shape))

    def after_step(self, step: Step, latents: torch.Tensor) -> None:
        self.calls.append("after_step")

    def after_decode(self, run: Run, images: list[Image.Image]) -> None:
        self.calls.append("after_decode")


@cache
def _model_of(kit: type[FamilyTests]) -> TinyModel:
    tests = kit()
    module, _, name = tests.info.partition(":")
    return TinyModel(info=getattr(import_module(module), name), pipe=tests.make(), side=tests.side)


def saved(model: TinyModel, folder: Path) -> Checkpoint:
    """Write a tiny pipeline to disk, and read it back as a checkpoint.

    Args:
        model: The pipeline.
        folder: An empty directory.

    Returns:
        The checkpoint, of the family where it is composer's or installed.
    """
    model.pipe.save_pretrained(folder)
    return find_checkpoint(ModelSpec(name="tiny", source=str(folder)))


def generators(*seeds: int) -> tuple[torch.Generator, ...]:
    """Create generators on the CPU.

    Args:
        seeds: Seeds of the images.

    Returns:
        One generator a seed.
    """
    return tuple(torch.Generator("cpu").manual_seed(seed) for seed in seeds)


def same_images(some: Sequence[Image.Image], others: Sequence[Image.Image]) -> bool:
    """Whether images are the same, bit for bit.

    Args:
        some: Images.
        others: Images to compare them with, in the same order.

    Returns:
        True if number and pixels are equal.
    """
    return [image.tobytes() for image in some] == [image.tobytes() for image in others]
