"""What determines the results of a tool."""

from __future__ import annotations

from typing import Any

from composer.checkpoints.fingerprints import image_fingerprint
from composer.config.choices import choice
from composer.recipes.check import CheckedTool


def tool_key(checked: CheckedTool) -> list[Any]:
    """Collect what determines the results of a tool.

    Args:
        checked: The tool with its images.

    Returns:
        Plain data.
    """
    images = {key: [image_fingerprint(image) for image in several] for key, several in checked.images.items()}
    return [choice(checked.spec.choice), images, checked.tool.fingerprint(), checked.spec.output.format == "jpeg"]
