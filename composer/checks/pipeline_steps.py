"""How a pipeline without a family lays out its steps, as far as its class tells; before weights load."""

from __future__ import annotations

from typing import Any

import numpy as np

from composer.callbacks.request import Request
from composer.checks.pipeline_class import told
from composer.errors import ComposerError
from composer.system.signatures import keywords_of


class Steps:
    """In place of a family where steps are laid out beforehand.

    Args:
        pipeline: the class.
    """

    def __init__(self, pipeline: type) -> None:
        self.pipeline = pipeline

    def own(self, scheduler: Any) -> bool:
        """Whether the pipeline makes the levels or the shift of its steps itself, from what only a run knows."""
        return bool(self._passed(scheduler)) or bool(scheduler.config.get("use_dynamic_shifting"))

    def set_timesteps(self, scheduler: Any, request: Request, factor: int, device: Any) -> None:
        """Lay out steps like those of the run; a shift that only the run knows is 1.

        Raises:
            ComposerError: this pipeline passes what the scheduler's class does not take.
        """
        passed, known = self._passed(scheduler), keywords_of(scheduler.set_timesteps)
        for name in sorted(passed - known):
            cls = type(scheduler).__name__
            reason = f"{self.pipeline.__name__} lays out its own steps and hands {name} to {cls}, which takes none: use scheduler=default"
            raise ComposerError("scheduler", cls, reason)
        if scheduler.config.get("use_dynamic_shifting") and "mu" in known:
            passed = passed | {"mu"}
        settings: dict[str, Any] = {"mu": 1.0} if "mu" in passed else {}
        if "sigmas" in passed:
            sigmas = np.linspace(1.0, 1 / request.steps, request.steps)
            settings["sigmas"] = sigmas.tolist() if told(self.pipeline).lists else sigmas
            scheduler.set_timesteps(device=device, **settings)
        else:
            scheduler.set_timesteps(request.steps, device=device, **settings)

    def _passed(self, scheduler: Any) -> frozenset[str]:
        """Keywords that the pipeline hands to this scheduler; many leave sigmas to one that makes those of a flow
        itself.
        """
        found = told(self.pipeline)
        return (
            found.passes - {"sigmas"} if found.spares_flow and scheduler.config.get("use_flow_sigmas") else found.passes
        )
