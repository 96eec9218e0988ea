"""Sample images of the package: a scene, its middle, and a mask of the object on its right."""

from __future__ import annotations

from pathlib import Path

#: Names, used as `image=sample:NAME`.
NAMES = ("scene", "detail", "mask")


def path(name: str) -> Path:
    """Return the file of a sample.

    Args:
        name: One of `NAMES`.

    Returns:
        Its path.
    """
    return Path(__file__).parent / f"{name}.png"
