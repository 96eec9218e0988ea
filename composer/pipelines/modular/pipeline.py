"""A run of a checkpoint that exists only as blocks of Modular Diffusers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from composer.callbacks.request import Request
from composer.checks.modular_blocks import ModularWorkflow
from composer.checks.pipeline_class import read_call
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

    def _keywords(self, request: Request) -> dict[str, Any]:
        keywords = super()._keywords(request)
        if read_call(self.pipeline_class).takes_one:
            texts = {name: keywords[name][0] for name in ("prompt", "negative_prompt") if name in keywords}
            return keywords | texts
        return keywords

    def _call(self, request: Request, hooks: Hooks, notes: list[str]) -> ModularCall:
        return ModularCall(
            self.family.pipe, self.workflow, self.make_scheduler(), lambda: self._keywords(request), hooks,
            self.guidance, self.family.denoiser_name, fps=request.inputs.get("fps"),
        )  # fmt: skip
