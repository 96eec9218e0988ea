"""One process's part of a training: it goes on from the last checkpoint, and writes checkpoints and samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from composer.compat.accelerator import accelerator_state
from composer.errors import ComposerError
from composer.pipelines.pipeline import Pipeline
from composer.training.encoding import Captions, EncodedImage
from composer.training.learned import Learned
from composer.training.loop import Loop, make_optimizer
from composer.training.objectives import make_objective
from composer.training.order import BatchOrder
from composer.training.plan import Plan
from composer.training.reports import SAMPLES, LossLog, write_samples
from composer.training.result import describe_training, write_result
from composer.training.state import State, save_state

#: Directory of the result's file at earlier steps.
CHECKPOINTS = "checkpoints"
#: Seconds between two lines of progress.
_PAUSE = 10.0


@contextmanager
def made_loop(pipeline: Pipeline, plan: Plan, images: Sequence[EncodedImage], learned: Learned) -> Iterator[Loop]:
    """Make the loop of a training.

    Args:
        pipeline: The pipeline, with the weights that learn among its models.
        plan: The training.
        images: The encoded images.
        learned: The weights.

    Yields:
        The loop; the models are as before when the context exits.

    Raises:
        ComposerError: accelerate starts several processes, or the model has no such objective.
    """
    family: Any = pipeline.family
    spec, is_flow = plan.requested.spec, plan.checked.checkpoint.family_info.scheduler_type == "flow"
    denoiser = family.denoiser
    with accelerator_state():
        mixed = "bf16" if family.dtype == torch.bfloat16 else "no"
        accelerator = Accelerator(mixed_precision=mixed, cpu=pipeline.device.type == "cpu")
        if accelerator.num_processes > 1:
            raise ComposerError("train", None, "runs in one process: start it without accelerate launch")
        weights = list(learned.parameters.values())
        try:
            if spec.gradient_checkpointing:
                denoiser.enable_gradient_checkpointing()
            yield Loop(
                family=family, spec=spec, images=images, captions=Captions(family, learned.text),
                order=BatchOrder([image.canvas for image in images], spec.batch, spec.seed),
                objective=make_objective(family.pipe.scheduler.config, is_flow, spec.min_snr),
                weights=weights, optimizer=make_optimizer(weights, spec), accelerator=accelerator,
            )  # fmt: skip
        finally:
            if spec.gradient_checkpointing:
                denoiser.disable_gradient_checkpointing()


class Session:
    """Runs the steps that are left, and reports on them.

    Args:
        plan: The training.
        pipeline: The pipeline, with the weights that learn among its models.
        learned: The weights.
        loop: The steps.
        progress: Receives lines about how far it is.

    Attributes:
        log: Losses of all steps.
    """

    def __init__(
        self, plan: Plan, pipeline: Pipeline, learned: Learned, loop: Loop, progress: Callable[[str], None]
    ) -> None:
        self.plan, self.pipeline, self.learned, self.loop, self.progress = plan, pipeline, learned, loop, progress
        self.spec, self.folder = plan.requested.spec, plan.folder
        self.log = LossLog(plan.folder)

    @property
    def samples(self) -> tuple[Path, ...]:
        """Sheets of sample images, in their order."""
        return tuple(sorted((self.folder / SAMPLES).glob("*.png")))

    def run(self, earlier: State | None) -> float:
        """Take the steps that are left.

        Args:
            earlier: State of an earlier process; ``None`` to begin.

        Returns:
            Seconds that they took.
        """
        started = shown = time.monotonic()
        done = self._restore(earlier)
        if earlier is None:
            self._remove_files()
        self.log = LossLog(self.folder, earlier.losses if earlier else ())
        if done == 0 and self.spec.sample_every:
            write_samples(self.pipeline, self.plan.checked.request, self.folder, 0)
        for loss in self.loop.run(done):
            self.log.add(loss)
            self._report(len(self.log.losses))
            if time.monotonic() - shown > _PAUSE:
                shown = time.monotonic()
                self.progress(self._line(done, shown - started))
        return time.monotonic() - started

    def write(self, path: Path) -> Path:
        """Write the weights as the file that a run takes.

        Args:
            path: The file.

        Returns:
            The same path.
        """
        plan = self.plan
        model, dtype = plan.checked.spec.model.name, str(self.pipeline.family.dtype).removeprefix("torch.")
        texts = describe_training(plan.requested.method, self.spec, plan.dataset, plan.checked.checkpoint, model, dtype)
        write_result(path, self.learned, texts)
        return path

    def _remove_files(self) -> None:
        """Remove checkpoints and samples of a training that this one replaces."""
        for path in (*self.samples, *(self.folder / CHECKPOINTS).glob("*.safetensors")):
            path.unlink()

    def _restore(self, earlier: State | None) -> int:
        """Set weights and optimizer as an earlier process left them; number of steps that are done."""
        if earlier is None:
            return 0
        with torch.no_grad():
            for name, weight in self.learned.parameters.items():
                weight.copy_(earlier.weights[name])
        self.loop.optimizer.load_state_dict(dict(earlier.optimizer))
        return earlier.step

    def _report(self, step: int) -> None:
        last = step == self.spec.steps
        if last or step % self.spec.save_every == 0:
            self._save()
            self.log.plot()
            if not last:
                self.write(self.folder / CHECKPOINTS / f"{step:06}.safetensors")
        if self.spec.sample_every and (last or step % self.spec.sample_every == 0):
            write_samples(self.pipeline, self.plan.checked.request, self.folder, step)

    def _save(self) -> None:
        losses = tuple(self.log.losses)
        state = State(
            step=len(losses), weights=self.learned.parameters, optimizer=self.loop.optimizer.state_dict(),
            losses=losses, settings=self.plan.settings,
        )  # fmt: skip
        save_state(self.folder, state)

    def _line(self, done: int, seconds: float) -> str:
        step = len(self.log.losses)
        pace = seconds / max(1, step - done)
        left = (self.spec.steps - step) * pace / 60
        return f"{step}/{self.spec.steps}  loss {self.log.mean(50):.4f}  {pace:.2f} s a step  {left:.1f} min left"
