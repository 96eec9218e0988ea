"""`composer.compose(…)`: the command line from a script or a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from composer.api.requests import request_of
from composer.system.notebook import interruptible

if TYPE_CHECKING:
    from composer.api.loaded import LoadedPipeline
    from composer.records.result import Result


@interruptible()
def compose(*overrides: str, config_dir: str | None = None, **values: Any) -> Result:
    """Generate images. Nothing is written until `Result.save(folder)` is called.

    Args:
        *overrides: Overrides as on the command line, such as `"scheduler=euler"`.
        config_dir: Directory with option files of your own, as `--config-dir`.
        **values: Python values of keys, such as `prompt="a cat, sitting"` or `seed=7`. A list of prompts is one batch,
            and a mapping holds settings, `scheduler={"eta": 1.0}`. Numbers may be numpy's or torch's. An image is a
            file, a PIL image, an array or a tensor (uint8, or floats in [0, 1]), or a list of them. `callbacks` may
            be a list of `StepCallback`s, which run after those of the config.

    Returns:
        The images, and how they were generated. A notebook shows them.

    Raises:
        ComposerError: The request cannot be met. Its text is the line that the command would print.

    Example:
        >>> composer.compose("task=text2img", prompt="a red cone", seed=7).image.show()
    """
    from composer.recipes.requests import execute_request

    spec, callbacks = request_of(overrides, values, config_dir)
    return execute_request(spec, more=callbacks)


def load(*overrides: str, config_dir: str | None = None, **values: Any) -> LoadedPipeline:
    """Load a pipeline that stays in memory and can be called with other prompts, seeds, sizes, …

    Args:
        *overrides: As for `compose`; defaults of each call.
        config_dir: As for `compose`.
        **values: As for `compose`; defaults of each call.

    Returns:
        The pipeline; call it with the values that differ.

    Raises:
        ComposerError: The request cannot be met. It is raised before weights are loaded.

    Example:
        >>> pipe = composer.load("model=sd15", "precision=fp16")
        >>> images = [pipe(prompt="a red cone", seed=seed).image for seed in range(4)]
    """
    from composer.api.loaded import LoadedPipeline

    return LoadedPipeline(overrides, values, config_dir)
