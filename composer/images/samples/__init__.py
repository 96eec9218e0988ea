"""Pictures that come with the package, for a first try: a scene, its middle, and a mask of what stands on its right."""

from __future__ import annotations

from pathlib import Path

#: As they are asked for: `image=sample:NAME`.
NAMES = ("scene", "detail", "mask")


def path(name: str) -> Path:
    """The file of the sample of this name."""
    return Path(__file__).parent / f"{name}.png"
