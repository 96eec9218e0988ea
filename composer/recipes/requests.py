"""Runs and recipes alike: how a composed config is read, checked, tried and run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from composer.callbacks.base import StepCallback
from composer.checkpoints.find import find_checkpoint
from composer.checks.compatibility import Checked, check
from composer.config.read import read
from composer.config.recipes import is_recipe
from composer.config.spec import RunSpec
from composer.metrics.base import Metric
from composer.pipelines.run import execute
from composer.recipes.check import CheckedRecipe, CheckedTool, Find, check_recipe, tried_recipe
from composer.recipes.spec import RecipeSpec, read_recipe

if TYPE_CHECKING:
    from composer.records.result import Result

Spec: TypeAlias = RunSpec | RecipeSpec
CheckedSpec: TypeAlias = Checked | CheckedRecipe


def read_request(config: Any) -> Spec:
    """Read a composed config.

    Args:
        config: As `composer.config.recipes.compose_request` returns it.

    Returns:
        The settings of a run or of a recipe.

    Raises:
        ComposerError: A key or value is invalid.
    """
    return read_recipe(config) if is_recipe(config) else read(config)


def check_request(spec: Spec, find: Find = find_checkpoint) -> CheckedSpec:
    """Check a run, or all steps of a recipe, without weights.

    Args:
        spec: Its settings.
        find: Finds a checkpoint by its settings.

    Returns:
        The checked settings.

    Raises:
        ComposerError: It cannot run.
    """
    return check_recipe(spec, find) if isinstance(spec, RecipeSpec) else check(spec, find)


def runs_of(checked: CheckedSpec) -> tuple[Checked, ...]:
    """List the runs of a run or a recipe.

    Args:
        checked: The checked settings.

    Returns:
        The run itself, or the steps of the recipe that are runs.
    """
    return checked.runs if isinstance(checked, CheckedRecipe) else (checked,)


def metrics_of(checked: CheckedSpec) -> Mapping[str, Metric]:
    """Return what is measured of the images of a run, or of the last step of a recipe.

    Args:
        checked: The checked settings.

    Returns:
        Metrics by name.
    """
    return last_of(checked).metrics


def last_of(checked: CheckedSpec) -> Checked | CheckedTool:
    """Return what makes the images: a run itself, or the last step of a recipe.

    Args:
        checked: The checked settings.
    """
    return checked.steps[-1].checked if isinstance(checked, CheckedRecipe) else checked


def tried_request(checked: CheckedSpec, more: Sequence[StepCallback] = ()) -> tuple[str, ...]:
    """Try a run, or all runs of a recipe, without weights.

    Args:
        checked: The checked settings.
        more: Callbacks from Python.

    Returns:
        Notes: what it would do differently from the request.

    Raises:
        ComposerError: Building or loading would be refused.
    """
    from composer.pipelines.trial import tried

    return tried_recipe(checked, more) if isinstance(checked, CheckedRecipe) else tried(checked, more)


def execute_request(
    spec: Spec,
    folder: Path | None = None,
    say: Callable[[str], None] = lambda note: None,
    more: Sequence[StepCallback] = (),
) -> Result:
    """Run a run or a recipe.

    Args:
        spec: Its settings.
        folder: Directory that callbacks may write to; None to write nothing.
        say: Receives each note for the user as soon as it is known.
        more: Callbacks from Python, which follow those of the config.

    Returns:
        Images, notes and record.

    Raises:
        ComposerError: It was refused, or failed.
    """
    if isinstance(spec, RecipeSpec):
        checked = check_recipe(spec)
        from composer.recipes.run import run_recipe, runner_for  # and torch

        return run_recipe(checked, folder, say, runner_for(checked, more))
    return execute(spec, folder, say, more)
