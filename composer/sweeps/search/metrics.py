"""What a trial is measured by: how far its images are from others, and the memory that it took.

A distance is the mean absolute difference of RGB values, 0 to 255.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from composer.errors import ComposerError
from composer.images.reading import read_image
from composer.sweeps.brief import brief
from composer.system.memory import peak_memory

KEY = "search.reference"
#: Bytes that the least peak may lie above what is held now.
SLACK = 1 << 26


class Reference:
    """Images to compare with. text: what was typed, for errors."""

    def __init__(self, text: str, images: list[np.ndarray]) -> None:
        self.text, self.images = text, images

    @classmethod
    def read(cls, name: str) -> Reference:
        """From an image file, which is turned, and laid on white, as a task's would be."""
        return cls(name, [np.asarray(read_image(KEY, name))])

    @property
    def stamp(self) -> str:
        """Of the pixels."""
        return hashlib.sha256(b"".join(image.tobytes() for image in self.images)).hexdigest()

    def distance(self, images: list[np.ndarray]) -> float:
        """Over all images, which must be as many and as large.

        Raises:
            ComposerError: they are not.
        """
        self.refuse(len(images), *images[0].shape[:2])
        return float(
            np.mean([np.abs(np.subtract(one, other, dtype=np.int16)).mean() for one, other in zip(self.images, images)])
        )

    def refuse(self, images: int, height: int, width: int) -> None:
        """Unless a trial's images are as many and as large."""
        own = self.images[0].shape[:2]
        if (height, width) != own:
            reason = f"is {own[1]} x {own[0]} pixels, and what is searched for is {width} x {height}: they must be of one size"
            raise ComposerError(KEY, self.text, reason)
        if images != len(self.images):
            raise ComposerError(
                KEY, self.text, f"is {len(self.images)} images, and each trial makes {images}: compare as many"
            )


def decoded(files: Mapping[str, bytes], record: Mapping[str, Any]) -> list[np.ndarray]:
    """A run's images, (H, W, 3) of 8 bits each, from its files by name."""
    return [np.asarray(Image.open(io.BytesIO(files[name])).convert("RGB")) for name in brief(record)["images"]]


def files_in(place: Path, record: Mapping[str, Any]) -> dict[str, bytes]:
    """What `decoded` takes, from a folder."""
    return {name: (place / name).read_bytes() for name in brief(record)["images"]}


def forget_peak() -> bool:
    """Have `peak_memory` tell of what comes from now on; False where the system can't."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return True
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux; Documentation/filesystems/proc.rst
        held = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return False
    return peak_memory() < held + SLACK  # else it is that of the process that started this one, which counts too
