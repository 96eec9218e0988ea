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
    """Make images and return them; nothing is written until `Result.save(folder)`.

    Args:
        overrides: as on the command line, `"scheduler=euler"`.
        config_dir: a folder with option files of your own, as --config-dir.
        values: keys with Python values, `prompt="a cat, sitting"`, `seed=7`; a list of prompts is one batch, and a
        mapping
            holds settings, `scheduler={"eta": 1.0}`. Numbers may be numpy's or torch's. An image can be a PIL image, or
            an
            array or tensor of uint8 or of floats 0–1, instead of a file; or a list of them. `callbacks` can be a list
            of
            `StepCallback`s, which come after those of the config.

    Returns:
        The images, and how they were made. In a notebook it shows itself.

    Raises:
        ComposerError: the request can't be met; its text is the line that the command would print.

    Example:
        >>> composer.compose("task=text2img", prompt="a red cone", seed=7).image.show()
    """
    from composer.pipelines.run import execute

    spec, callbacks = request_of(overrides, values, config_dir)
    return execute(spec, more=callbacks)


def load(*overrides: str, config_dir: str | None = None, **values: Any) -> LoadedPipeline:
    """Load a pipeline and hold it, to be called again and again with other prompts, seeds, sizes, …

    Args:
        overrides, config_dir, values: as for `compose`; what a call does not say otherwise.

    Returns:
        The pipeline; call it with what differs.

    Raises:
        ComposerError: as `compose`, before any weights are loaded.

    Example:
        >>> pipe = composer.load("model=sd15", "precision=fp16")
        >>> images = [pipe(prompt="a red cone", seed=seed).image for seed in range(4)]
    """
    from composer.api.loaded import LoadedPipeline

    return LoadedPipeline(overrides, values, config_dir)
