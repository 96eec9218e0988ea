"""`compose show` of runs and recipes: what they are composed of, without weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from composer.callbacks.base import StepCallback
from composer.checks.compatibility import Checked
from composer.config.recipes import RECIPE, STEPS, TOOL, errors_of_step
from composer.pipelines.description import describe
from composer.pipelines.description_facts import facts
from composer.pipelines.offers import find_offers
from composer.pipelines.trial import tried
from composer.recipes.check import CheckedRecipe, CheckedTool
from composer.recipes.requests import CheckedSpec


def described(checked: CheckedSpec, more: Sequence[StepCallback] = ()) -> tuple[dict[str, Any], str]:
    """Describe a run, or all steps of a recipe.

    Args:
        checked: The checked settings.
        more: Callbacks from Python.

    Returns:
        The description as plain data and as text.

    Raises:
        ComposerError: Building or loading would be refused.
    """
    if isinstance(checked, Checked):
        return _of_run(checked, more)
    parts = {step.step.name: _of_step(checked, step.step.name, step.checked, more) for step in checked.steps}
    text = "\n\n".join(f"step {name}{_inputs(checked, name)}\n{part[1]}" for name, part in parts.items())
    steps = {name: part[0] for name, part in parts.items()}
    return {RECIPE: checked.spec.name, STEPS: steps, "text": text}, text


def _of_step(
    recipe: CheckedRecipe, name: str, checked: Checked | CheckedTool, more: Sequence[StepCallback]
) -> tuple[dict[str, Any], str]:
    with errors_of_step(name, (), ()):
        if isinstance(checked, Checked):
            return _of_run(checked, more)
    settings = dict(checked.spec.choice.keywords)
    text = f"tool       {checked.spec.choice.name} " + ", ".join(f"{key} {value}" for key, value in settings.items())
    return {TOOL: checked.spec.choice.name, "settings": settings, "text": text}, text


def _of_run(checked: Checked, more: Sequence[StepCallback]) -> tuple[dict[str, Any], str]:
    notes, offers = tried(checked, more), find_offers(checked)
    text = describe(checked, notes, offers)
    return facts(checked, notes, text, offers), text


def _inputs(recipe: CheckedRecipe, name: str) -> str:
    step = next(step for step in recipe.spec.steps if step.name == name)
    sources = ", ".join(f"{key} from {' and '.join(names)}" for key, names in step.sources.items())
    return f": {sources}" if sources else ""
