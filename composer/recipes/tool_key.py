"""What determines the results of a tool."""

from __future__ import annotations

from typing import Any

from PIL import Image

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
    return [
        choice(checked.spec.choice),
        input_fingerprints(checked),
        checked.tool.fingerprint(),
        checked.spec.output.format == "jpeg",
    ]


def input_fingerprints(checked: CheckedTool) -> dict[str, list[str]]:
    """Identify the inputs of a tool.

    Args:
        checked: The tool with its inputs.

    Returns:
        Key → a hash of each image, or the texts themselves.
    """
    return {
        key: [image_fingerprint(one) if isinstance(one, Image.Image) else one for one in several]
        for key, several in checked.inputs.items()
    }
