"""A run of a checkpoint that exists only as blocks of Modular Diffusers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from composer.callbacks.request import Request
from composer.checks.modular_blocks import ModularWorkflow
from composer.pipelines.hosted.pipeline import Hosted
from composer.pipelines.modular.call import ModularCall
from composer.sampling.hooks import Hooks


@dataclass(frozen=True, kw_only=True)
class Modular(Hosted):
    """Blocks of Modular Diffusers behind the call of `Pipeline`.

    Attributes:
        workflow: The workflow that does the task.
    """

    workflow: type[ModularWorkflow]

    @property
    def pipeline_class(self) -> Any:
        return self.workflow

    def _call(self, request: Request, hooks: Hooks, notes: list[str]) -> ModularCall:
        return ModularCall(
            self.family.pipe, self.workflow, self.make_scheduler(), lambda: self._keywords(request), hooks,
            self.guidance, self.family.denoiser_name, fps=request.inputs.get("fps"),
        )  # fmt: skip
