"""Metrics of a run or a tool: built from their settings, and refused where they can't measure what it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from composer.config.targets import build
from composer.errors import ComposerError
from composer.metrics.base import Metric

if TYPE_CHECKING:
    from composer.callbacks.request import Request
    from composer.config.spec import Choice

SIDES = ("height", "width")


def check_metrics(
    choices: Mapping[str, Choice], makes: str, size: tuple[int, int] | None, prompts: Sequence[str]
) -> dict[str, Metric]:
    """Build the metrics of a run or a tool, and check what they will measure.

    Args:
        choices: Options by name.
        makes: Kind of what is made, such as `image`.
        size: Width and height of the images in pixels; None where it is not known yet.
        prompts: The prompt of each image.

    Returns:
        Metrics by name.

    Raises:
        ComposerError: A setting is refused, or a metric can't measure what is made.
    """
    metrics: dict[str, Metric] = {name: build(f"metric.{name}", choice, Metric) for name, choice in choices.items()}
    for name, metric in metrics.items():
        if makes not in ("image", "mask"):
            raise ComposerError("metric", name, f"measures images, and this makes {makes}s: leave it out")
        metric.check(size, prompts)
    return metrics


def final_size(request: Request) -> tuple[int, int] | None:
    """Return width and height of a run's images in pixels, of the second pass if there is one.

    Args:
        request: The request.

    Returns:
        The size; None where a hosted pipeline chooses it.
    """
    if len(request.sides) < len(SIDES):
        return None
    height, width = request.sizes[-1]
    return width, height
