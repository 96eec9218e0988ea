"""Metrics of a trial: the distance of its images from reference images, and its peak memory.

The distance is the mean absolute difference of RGB values, in [0, 255].
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from composer.errors import ComposerError, suggest
from composer.images.reading import read_image
from composer.metrics.base import Metric
from composer.sweeps.brief import brief
from composer.sweeps.settings import NO_REFERENCE
from composer.sweeps.spec import SearchSpec
from composer.system.memory import peak_memory

KEY = "search.reference"
#: Bytes by which the peak may exceed the present memory right after a reset.
RESET_TOLERANCE = 1 << 26
#: An RGB image, `(H, W, 3)`, uint8.
Pixels = NDArray[np.uint8]


class Objective(NamedTuple):
    """What is to be best.

    Attributes:
        name: Name of it.
        higher_is_better: Whether it is to be high; else low.
    """

    name: str
    higher_is_better: bool = False

    def value(self, measured: Mapping[str, Any]) -> float:
        """Look it up.

        Args:
            measured: What was measured of a trial that did not fail.

        Returns:
            Its value.
        """
        return float({**measured, **(measured.get("metrics") or {})}[self.name])


def objectives(spec: SearchSpec, metrics: Mapping[str, Metric]) -> tuple[Objective, ...]:
    """Find what is to be best among what is measured.

    Args:
        spec: Settings of the search.
        metrics: Metrics of the trials.

    Returns:
        An objective for each name in ``search.metric``.

    Raises:
        ComposerError: One of them is not measured, or two of them have one name.
    """
    known = ["seconds", "peak_memory", "distance", *(name for name in metrics if name != "distance")]
    for name in spec.metrics:
        if name == "distance" and name not in metrics and spec.reference is None:
            raise ComposerError("search.metric", name, NO_REFERENCE)
        if name not in known:
            reason = f"is measured of no trial: metric=[…] chooses what is.{suggest(name, known)}"
            raise ComposerError("search.metric", name, reason, tuple(known))
    if "distance" in metrics and spec.reference is not None:
        reason = "is one reference, and metric.distance.reference another: leave one of them out"
        raise ComposerError(KEY, spec.reference, reason)
    return tuple(Objective(name, name in metrics and metrics[name].higher_is_better) for name in spec.metrics)


class Reference:
    """Images to compare trials with.

    Args:
        text: The setting as typed, for error messages.
        images: RGB images, ``(H, W, 3)`` uint8, all of one size.
    """

    def __init__(self, text: str, images: list[Pixels]) -> None:
        self.text, self.images = text, images

    @classmethod
    def read(cls, name: str) -> Reference:
        """Read an image file as a task reads its inputs: rotated by its EXIF data, transparency on white.

        Args:
            name: Path of the file, or name of a sample image.

        Returns:
            The reference.

        Raises:
            ComposerError: The file cannot be read.
        """
        return cls(name, [np.asarray(read_image(KEY, name))])

    @property
    def stamp(self) -> str:
        """SHA-256 of the pixels."""
        return hashlib.sha256(b"".join(image.tobytes() for image in self.images)).hexdigest()

    def distance(self, images: list[Pixels]) -> float:
        """Compute the mean distance to a trial's images.

        Args:
            images: As many RGB images as the reference has, of the same size.

        Returns:
            Mean absolute difference of RGB values, in [0, 255].

        Raises:
            ComposerError: Number or size of the images differ.
        """
        self.check_size(len(images), *images[0].shape[:2])
        distances = [np.abs(np.subtract(one, other, dtype=np.int16)).mean() for one, other in zip(self.images, images)]
        return float(np.mean(distances))

    def check_size(self, images: int, height: int, width: int) -> None:
        """Require that a trial's images can be compared with the reference.

        Args:
            images: Number of images of a trial.
            height: Their height in pixels.
            width: Their width in pixels.

        Raises:
            ComposerError: Number or size differ.
        """
        size = self.images[0].shape[:2]
        if (height, width) != size:
            reason = f"is {size[1]} x {size[0]} pixels, and the trials are {width} x {height}: the sizes must be equal"
            raise ComposerError(KEY, self.text, reason)
        if images != len(self.images):
            reason = f"is {len(self.images)} images, and each trial makes {images}: the numbers must be equal"
            raise ComposerError(KEY, self.text, reason)


def decode_images(files: Mapping[str, bytes], record: Mapping[str, Any]) -> list[Pixels]:
    """Decode the images of a run.

    Args:
        files: Content of its files by name.
        record: Record of the run.

    Returns:
        RGB images, ``(H, W, 3)`` uint8.
    """
    return [np.asarray(Image.open(io.BytesIO(files[name])).convert("RGB")) for name in brief(record)["images"]]


def read_image_files(folder: Path, record: Mapping[str, Any]) -> dict[str, bytes]:
    """Read the image files of a run.

    Args:
        folder: Folder of the run.
        record: Record of the run.

    Returns:
        Content of each image file by name.
    """
    return {name: (folder / name).read_bytes() for name in brief(record)["images"]}


def reset_peak_memory() -> bool:
    """Restart the measurement of `peak_memory`.

    On Linux without a GPU the kernel resets the peak of this process (Documentation/filesystems/proc.rst).

    Returns:
        Whether the system can do that.
    """
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return True
    try:
        Path("/proc/self/clear_refs").write_text("5")
        present = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return False
    peak = peak_memory()
    return peak is not None and peak < present + RESET_TOLERANCE  # else the peak of a parent process counts too
