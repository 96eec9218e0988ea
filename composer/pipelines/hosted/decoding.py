"""Decoding of any latents by a pipeline's own tail: scaling, VAE, postprocessing, safety checker, watermark.

The pipeline is called once more. Its loops are stopped from the start and end with the given latents, so that all that
follows a loop is done by the pipeline itself. Models in the loop are not evaluated again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from composer.compat.attributes import interrupt
from composer.errors import ComposerError
from composer.pipelines.hosted.kept_outputs import KeptOutputs
from composer.pipelines.hosted.loop import Loop, handed_out


class Tail:
    """Listens to a call of a pipeline that is to end with given latents.

    Args:
        loop: The run's loop, for the outputs of its models and the last latents of earlier stages.
        latents: Latents that its present stage is to end with.
    """

    def __init__(self, loop: Loop, latents: Tensor) -> None:
        self.loop, self.outputs = loop, KeptOutputs(loop.outputs)
        self.latents = [*loop.ended, latents]
        self.scheduler = "" if loop.stage is None else loop.stage.findings.scheduler
        self.number, self.steps = -1, 0
        self.evaluations: dict[str, int] = {}

    def begin(self, pipe: Any, frame: FrameType, timesteps: Tensor | None) -> None:
        if self.number < 0 or self.steps:
            self.number, self.steps = self.number + 1, 0
        self.evaluations.clear()
        interrupt(pipe, False)
        self.pipe = pipe

    def evaluate(self, name: str, call: Callable[[], Any]) -> Any:
        if self.number < 0:
            return call()
        number = self.evaluations.get(name, 0)
        self.evaluations[name] = number + 1
        if known := self.outputs.get(name, number, self.steps == 0):
            return known[0]
        output = call()
        self.outputs.put(name, number, self.steps == 0, output)
        return output

    def take_step(
        self, name: str, scheduler: Any, call: Callable[[Tensor], Any], prediction: Tensor, timestep: Any,
        sample: Tensor
    ) -> Any:  # fmt: skip
        output = call(prediction)
        if self.number < 0 or (self.number + 1 == len(self.latents) and self.scheduler not in ("", name)):
            return output
        self.steps += 1
        self.evaluations.clear()
        interrupt(self.pipe)
        return handed_out(output, self._given())

    def take_step_of_copy(self, name: str) -> None:
        pass

    def on_step_end(self, pipe: Any, index: int, timestep: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Receive the latents of a step; the pipeline's ``callback_on_step_end``.

        Args:
            pipe: The pipeline with the loop.
            index: Iteration.
            timestep: Present timestep.
            tensors: Local variables of the loop, among them its latents.

        Returns:
            The given latents.
        """
        return {"latents": self._given(), "denoised": self._given()}

    def _given(self) -> Tensor:
        if self.number >= len(self.latents):
            many = f"loop {self.number + 1} of {self.loop.findings.pipeline} follows"
            raise ComposerError("callbacks", None, f"latents of loop {len(self.latents)} are no images: {many}")
        return self.latents[self.number]


def end_with(
    loop: Loop, latents: Tensor, call: Callable[[Tail], Any]
) -> Any:  # fmt: skip
    """Call a pipeline so that the loop of the present stage ends with given latents.

    Args:
        loop: The run's loop, which notices nothing.
        latents: Latents x₀, in the shape of the stage's latents.
        call: Calls a further object of the pipeline with a listener.

    Returns:
        The pipeline's output.
    """
    tail = Tail(loop, latents)
    before, loop.override = loop.override, tail
    try:
        with torch.random.fork_rng():
            return call(tail)
    finally:
        loop.override = before
