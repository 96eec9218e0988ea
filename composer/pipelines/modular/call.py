"""One call of a run's blocks with composer's callbacks in their loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from types import SimpleNamespace
from typing import Any

import torch
from diffusers.modular_pipelines.modular_pipeline import BlockState, PipelineState
from torch import Tensor

from composer.callbacks.base import Step
from composer.checks.modular_blocks import OUTPUTS, ModularWorkflow
from composer.checks.modular_loops import loops_in
from composer.errors import ComposerError
from composer.media.medium import Medium
from composer.pipelines.hosted.base_call import Call, LoopView
from composer.pipelines.hosted.call import call_pipeline
from composer.pipelines.hosted.outputs import decoded_of
from composer.pipelines.modular.guiding import RunGuiders
from composer.pipelines.modular.loop import BlockLoop
from composer.sampling.guidance import Guidance
from composer.sampling.hooks import Hooks


class ModularCall(Call):
    """A call of a workflow, and what callbacks can ask of it.

    Args:
        shared: The cached pipeline, which is not changed.
        workflow: The workflow.
        scheduler: A scheduler of the run's own.
        make_keywords: Returns fresh arguments of the workflow.
        hooks: Callbacks of the run.
        guidance: Guidance of the run.
        denoiser: Component that predicts.
        fps: Frames a second of clips; None for the default.
    """

    def __init__(
        self, shared: Any, workflow: type[ModularWorkflow], scheduler: Any, make_keywords: Callable[[], dict[str, Any]],
        hooks: Hooks, guidance: Guidance, denoiser: str, fps: float | None = None,
    ) -> None:  # fmt: skip
        self.pipe, self.workflow, self.make_keywords, self.fps = copy(shared), workflow, make_keywords, fps
        self.pipe.scheduler = scheduler
        self.blocks = workflow.make_blocks()
        guiders = RunGuiders(self.pipe, guidance, getattr(shared, denoiser))
        self.loop: BlockLoop = BlockLoop(self.pipe, self.blocks, hooks, guiders, denoiser)
        self.states: dict[str, PipelineState] = {}

    @property
    def view(self) -> LoopView:
        return self.loop

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Nothing of the models is changed, so nothing has to be put back."""
        yield

    def run(self) -> Any:
        """Run the blocks.

        Returns:
            What they make, under the names that outputs of pipelines have.

        Raises:
            ComposerError: They failed, or a callback changed what can't be changed.
        """
        state, given = PipelineState(), self.make_keywords()
        for entry in self.blocks.inputs:
            if entry.name is not None:
                state.set(entry.name, given.get(entry.name, entry.default), entry.kwargs_type)
        output = self._run_blocks([*self.blocks.sub_blocks], state)
        self.loop.end()
        return output

    def decode(self, latents: Tensor) -> list[Medium]:
        """Decode latents of the present loop by the blocks after it.

        Args:
            latents: Latents x₀, in the shape of the loop's latents.

        Returns:
            What the pipeline would return for them: images, clips or sounds.
        """
        names = [*self.blocks.sub_blocks]
        following = names[names.index(self.loop.name) + 1 :] if self.loop.name else []
        if others := [name for name in following if name in loops_in(self.blocks)]:
            reason = f"latents of loop {self.loop.name} are no images: {' and '.join(others)} follows"
            raise ComposerError("callbacks", None, reason)
        with torch.random.fork_rng():
            output = self._run_blocks(following, self._state_with(latents))
        return list(decoded_of(output, self.pipe, self.fps).media)

    def denoised(self, step: Step, prediction: Tensor) -> Tensor:
        return prediction if self.loop.predicts_clean else super().denoised(step, prediction)

    def predicted(self, step: Step, clean: Tensor) -> Tensor:
        return clean if self.loop.predicts_clean else super().predicted(step, clean)

    @torch.no_grad()
    def _run_blocks(self, names: Sequence[str], state: PipelineState) -> Any:
        """Run blocks one after the other; diffusers would log each error with its traceback."""

        def run() -> PipelineState:
            left = state
            for name in names:
                self.states[name] = left
                _, left = self.blocks.sub_blocks[name](self.pipe, left)
            return left

        return output_of(call_pipeline(run, {}, self.loop.findings.pipeline))

    def _state_with(self, latents: Tensor) -> PipelineState:
        """The values that the blocks after the loop would find if it ended with given latents."""
        if not self.loop.name:
            raise ComposerError("callbacks", None, f"the loop of {self.loop.findings.pipeline} has not begun")
        begun = self.states[self.loop.name]
        values = {name: _own_generator(value) for name, value in begun.values.items()}
        state = PipelineState(values=values, kwargs_mapping=dict(begun.kwargs_mapping))
        variables = {name: _own_generator(value) for name, value in self.loop.variables.items()}
        self.blocks.sub_blocks[self.loop.name].set_block_state(state, BlockState(**variables | {"latents": latents}))
        return state


def output_of(state: PipelineState) -> Any:
    """Collect what blocks made, under the names that pipeline outputs have.

    Args:
        state: Values at the end of a call.
    """
    names = {"videos": "frames"}
    values: Mapping[str, Any] = {name: state.get(name) for name in OUTPUTS if state.get(name) is not None}
    return SimpleNamespace(**{names.get(name, name): value for name, value in values.items()})


def _own_generator(value: Any) -> Any:
    """Copy generators, so that a block which samples noise leaves those of the run as they are."""
    if isinstance(value, torch.Generator):
        return value.clone_state()
    return [_own_generator(entry) for entry in value] if isinstance(value, list) else value
