"""The result of a run: images, how they were generated, and the files that hold them."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from PIL import Image

from composer.config.spec import OutputSpec
from composer.errors import ComposerError
from composer.records.metadata import saving
from composer.system.files import write_atomically


@dataclass(frozen=True, kw_only=True, repr=False)
class Result:
    """The result of a run.

    Attributes:
        images: RGB images.
        seeds: Seed of each image.
        seconds: Duration of the run in seconds, without loading.
        iterations: Iterations of the denoising loop.
        notes: Notes for the user.
        flagged: Indices of images that the checkpoint's safety checker replaced by black ones.
        batches: Number of images in each batch, in their order.
        together: All images of the batches that a sweep's job was generated in, with the index of the job's first one;
            None if they are only its own.
        numbers: Indices of the images in their run; None for all of it.
        record: How the images were generated, as plain data.
    """

    images: list[Image.Image]
    seeds: tuple[int, ...]
    seconds: float
    iterations: int
    notes: tuple[str, ...] = ()
    flagged: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()
    together: Mapping[str, Any] | None = None
    numbers: tuple[int, ...] | None = None
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def image(self) -> Image.Image:
        """The first image."""
        return self.images[0]

    @property
    def flag_notes(self) -> tuple[str, ...]:
        """A note for each image that the safety checker replaced; part of `notes` once a run is complete."""
        words = "was blackened by the checkpoint's safety checker (model.safety_checker=false turns it off)"
        return tuple(f"image {index} {words}" for index in self.flagged)

    @property
    def grid(self) -> Image.Image:
        """All images on one sheet."""

        return grid(self.images)

    def __repr__(self) -> str:
        """Summarise the result in one line, without the record."""
        many = f"{len(self.images)} images" if len(self.images) > 1 else "1 image"
        size, seeds = f"{self.image.width} x {self.image.height}", ", ".join(map(str, self.seeds[:8]))
        return (
            f"Result({many} of {size} pixels, seed {seeds}{', …' if len(self.seeds) > 8 else ''}, {self.seconds:.1f} s)"
        )

    def _repr_png_(self) -> bytes:
        """Return the image that a notebook shows: the only one, or all of them on one sheet."""
        from composer.system.notebook import encode_png

        return encode_png(self.grid if len(self.images) > 1 else self.image)

    def save(self, folder: str | Path) -> list[Path]:
        """Write the images, ``run.json`` and ``config.yaml``.

        Args:
            folder: Directory, which is created.

        Returns:
            Paths of the images.

        Raises:
            ComposerError: The directory can't be written to.
        """

        return save(self, Path(folder))


SUFFIXES = {"png": "png", "webp": "webp", "jpeg": "jpg"}


#: Of PNG: PIL's own, 6, takes three times as long and saves 4 % of the bytes.
COMPRESSION = 4


def save(result: Result, folder: Path) -> list[Path]:
    """Write ``000.png``, …, a grid of several images, ``config.yaml``, and ``run.json`` last, which marks completeness.

    Args:
        result: The result.
        folder: Directory, which is created.

    Returns:
        Paths of the images.

    Raises:
        ComposerError: The directory can't be written to; files that were written are removed.
    """
    files = {**files_of(result), "run.json": json.dumps(result.record, indent=1, ensure_ascii=False).encode()}
    written: list[Path] = []
    try:
        for name, data in files.items():
            write_atomically(folder / name, data)
            written.append(folder / name)
    except OSError as error:
        for file in written:  # without a record nobody could tell what they are
            file.unlink(missing_ok=True)
        raise ComposerError("output.folder", folder, f"can't be written to: {error.strerror}") from None
    return [folder / name for name in image_names(result)]


def files_of(result: Result) -> dict[str, bytes]:
    """Encode the files of a run besides its record.

    Args:
        result: The result.

    Returns:
        File name → content.
    """
    config = result.record.get("config", {})
    output = OutputSpec(**config.get("output", {}))
    numbers = result.numbers or range(len(result.images))
    files = {
        name: encoded(image, output, saving(result.record, number, output.format))
        for name, image, number in zip(image_names(result), result.images, numbers)
    }
    if len(files) > 1:
        files[f"grid.{SUFFIXES[output.format]}"] = encoded(
            grid(result.images), output, saving(result.record, None, output.format)
        )
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml's is ten times faster
    return files | {
        "config.yaml": yaml.dump(_literal(config), Dumper=dumper, sort_keys=False, allow_unicode=True).encode()
    }


def image_names(result: Result) -> list[str]:
    """Return the file names of a result's images.

    Args:
        result: The result.
    """
    suffix = SUFFIXES[result.record.get("config", {}).get("output", {}).get("format", "png")]
    return [f"{i:03d}.{suffix}" for i in result.numbers or range(len(result.images))]


def encoded(image: Image.Image, output: OutputSpec, more: Mapping[str, Any] = MappingProxyType({})) -> bytes:
    """Encode an image in the chosen format.

    Args:
        image: The image.
        output: The output settings.
        more: Arguments of PIL's ``save``.
    """
    options = dict(more)
    if output.format == "png":
        options |= {"compress_level": COMPRESSION}
    elif output.format == "jpeg":
        options |= {"quality": output.quality, "subsampling": 0}
    elif output.format == "webp":
        options |= {"lossless": True} if output.quality == 100 else {"quality": output.quality}
    buffer = io.BytesIO()
    image.save(buffer, output.format, **options)
    return buffer.getvalue()


def grid(images: list[Image.Image]) -> Image.Image:
    """Arrange images row by row on the smallest nearly square sheet, two pixels apart.

    Args:
        images: Images.

    Returns:
        The sheet, white between the images.
    """
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    width, height = (max(side) for side in zip(*(image.size for image in images)))
    gap = 2
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for i, image in enumerate(images):
        sheet.paste(image, (i % columns * (width + gap), i // columns * (height + gap)))
    return sheet


def _literal(node: Any) -> Any:
    """Escape interpolations: the config is resolved, and ``${`` in a prompt is text."""
    if isinstance(node, Mapping):
        return {key: _literal(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_literal(value) for value in node]
    return node.replace("${", "\\${") if isinstance(node, str) else node
