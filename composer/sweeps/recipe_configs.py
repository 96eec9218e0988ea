"""Overrides of a job of a recipe to the configs of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from composer.config.hydra_errors import translate_errors
from composer.config.recipes import CONFIG, RECIPE, REUSE, STEPS, Recipe, step_tree
from composer.sweeps.grammar import Grammar, JobSetting
from composer.sweeps.job_configs import Composer, flatten


class RecipeComposer(Composer):
    """Composer of the steps of a recipe, each as a run of its own.

    Args:
        grammar: Parser of the overrides.
        recipe: The recipe.
        config_dir: Additional directory of option files, for messages.
    """

    def __init__(self, grammar: Grammar, recipe: Recipe, config_dir: str | None) -> None:
        super().__init__(grammar)
        self.recipe, self.config_dir = recipe, config_dir

    def __call__(self, settings: Sequence[JobSetting]) -> dict[str, Any]:
        """Compose the configs of one job.

        Args:
            settings: Overrides of the job.

        Returns:
            The tree of the recipe, as `composer.config.recipes.compose_request` returns it.

        Raises:
            ComposerError: An override is invalid; the key begins with the name of its step.
        """
        prepared = [setting.text for setting in settings]
        trees: dict[str, Any] = {}
        for step in self.recipe.words(prepared):
            with step.named(), translate_errors(step.words, self.config_dir):
                config = super().__call__([self.grammar.setting(word) for word in step.words])
            trees[step.name] = step_tree(step, config)
        return {RECIPE: self.recipe.name, REUSE: self.recipe.is_reused(prepared), STEPS: trees}

    def choices(self, settings: Sequence[JobSetting]) -> dict[str, Any]:
        steps = self(settings)[STEPS]
        trees = {name: {**node[CONFIG], **node[CONFIG].get("chosen", {})} for name, node in steps.items()}
        return {key: value for key, value in flatten(trees).items() if not key.endswith("_")}
