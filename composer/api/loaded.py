"""A pipeline that stays loaded between calls from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from composer.api.requests import run_of
from composer.checks.compatibility import check
from composer.config.python_values import image_placeholder, sort_values, to_plain
from composer.pipelines.run import execute
from composer.system.library_logs import silenced_libraries
from composer.system.notebook import interruptible
from composer.system.run_lock import in_turn

if TYPE_CHECKING:
    from composer.config.spec import RunSpec
    from composer.records.result import Result


class LoadedPipeline:
    """A pipeline whose models stay loaded between calls, returned by `composer.load`.

    Each call is a separate run, equal to that of `composer.compose` with the same arguments.

    Args:
        overrides: As for `composer.load`.
        values: As for `composer.load`.
        config_dir: As for `composer.load`.

    Raises:
        ComposerError: The request cannot be met.
    """

    @interruptible()
    @in_turn
    def __init__(self, overrides: Sequence[str], values: Mapping[str, Any], config_dir: str | None = None) -> None:
        self._overrides, self._values, self._config_dir = tuple(overrides), dict(values), config_dir
        self._spec, self._callbacks = run_of(overrides, values, config_dir)
        checked = check(self._spec)
        with silenced_libraries():
            from composer.pipelines.build import build_pipeline

            self._pipeline = build_pipeline(checked, self._callbacks)  # keeps its models in the loader's cache

    @interruptible()
    def __call__(self, *overrides: str, **values: Any) -> Result:
        """Generate images.

        Args:
            *overrides: As for `composer.compose`; they replace those that the pipeline was loaded with.
            **values: As for `composer.compose`; they replace those that the pipeline was loaded with.

        Returns:
            The images, and how they were generated.

        Raises:
            ComposerError: The request cannot be met.
        """
        if self._is_quick(overrides, values):
            return execute(self._with(values), more=self._callbacks)
        spec, callbacks = run_of([*self._overrides, *overrides], {**self._values, **values}, self._config_dir)
        return execute(spec, more=callbacks)

    def __repr__(self) -> str:
        spec = self._spec
        return f"Pipeline({spec.task.name}, model {spec.model.name}, scheduler {spec.scheduler.name}, held)"

    def _is_quick(self, overrides: Sequence[str], values: Mapping[str, Any]) -> bool:
        """Whether only values of the task differ, so that nothing needs to be composed anew."""
        return not overrides and all(key in self._spec.values and value is not None for key, value in values.items())

    def _with(self, values: Mapping[str, Any]) -> RunSpec:
        python = sort_values((), values)
        data = {
            key: image_placeholder(key) if key in python.images else to_plain(key, value)
            for key, value in values.items()
        }
        return replace(
            self._spec, values={**self._spec.values, **data, **python.images}, config={**self._spec.config, **data}
        )
