"""Timesteps of pipelines without a native family, as far as their class shows them before weights are loaded."""

from __future__ import annotations

from typing import Any

import numpy as np

from composer.callbacks.request import Request
from composer.checks.pipeline_class import read_call
from composer.errors import ComposerError
from composer.system.signatures import keywords_of


class Steps:
    """Timesteps of a pipeline class without a native family, with the interface of a family.

    Args:
        pipeline: diffusers pipeline class.
    """

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline

    def own(self, scheduler: Any) -> bool:
        """Whether the pipeline computes the sigmas or the shift of its timesteps during a run.

        Args:
            scheduler: The scheduler of the run.
        """
        return bool(self._passed(scheduler)) or bool(scheduler.config.get("use_dynamic_shifting"))

    def set_timesteps(self, scheduler: Any, request: Request, factor: int, device: Any) -> None:
        """Set timesteps like those of the run; a shift that only the run knows is 1.

        Args:
            scheduler: The scheduler, whose timesteps are set.
            request: The request, for its number of steps.
            factor: Pixels per latent along a side; not used here.
            device: Device of the timesteps.

        Raises:
            ComposerError: The pipeline passes an argument that the scheduler does not take.
        """
        passed, known = self._passed(scheduler), keywords_of(scheduler.set_timesteps)
        for name in sorted(passed - known):
            cls = type(scheduler).__name__
            own_steps = f"{self.pipeline.__name__} sets its own steps and passes {name} to {cls}"
            raise ComposerError("scheduler", cls, f"{own_steps}, which takes none: use scheduler=default")
        if scheduler.config.get("use_dynamic_shifting") and "mu" in known:
            passed = passed | {"mu"}
        settings: dict[str, Any] = {"mu": 1.0} if "mu" in passed else {}
        if "sigmas" in passed:
            sigmas = np.linspace(1.0, 1 / request.steps, request.steps)
            settings["sigmas"] = sigmas.tolist() if read_call(self.pipeline).lists_sigmas else sigmas
            scheduler.set_timesteps(device=device, **settings)
        else:
            scheduler.set_timesteps(request.steps, device=device, **settings)

    def _passed(self, scheduler: Any) -> frozenset[str]:
        """Return the arguments for ``set_timesteps``; some pipelines omit sigmas if the scheduler computes them."""
        facts = read_call(self.pipeline)
        omits_sigmas = facts.omits_flow_sigmas and scheduler.config.get("use_flow_sigmas")
        return facts.timestep_arguments - {"sigmas"} if omits_sigmas else facts.timestep_arguments
