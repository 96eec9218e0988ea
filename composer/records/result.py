"""The result of a run: images, clips or sounds, how they were generated, and the files that hold them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from PIL import Image

from composer.config.output_folder import leave_nothing
from composer.errors import ComposerError
from composer.media.clip import Clip
from composer.media.medium import Medium, kind_of, poster
from composer.media.sound import Sound
from composer.records.files import file_names, files_of, grid
from composer.records.own_files import hash_of
from composer.system.files import write_files

MediumT = TypeVar("MediumT", Clip, Sound)


@dataclass(frozen=True, kw_only=True, repr=False)
class Result:
    """The result of a run.

    Attributes:
        media: RGB images, clips or sounds, all of one kind.
        seeds: Seed of each image.
        seconds: Duration of the run in seconds, without loading.
        iterations: Iterations of the denoising loop.
        notes: Notes for the user.
        flagged: Indices of images that the checkpoint's safety checker replaced by black ones.
        batches: Number of images in each batch, in their order.
        together: All images of the batches that a sweep's job was generated in, with the index of the job's first one;
            None if they are only its own.
        numbers: Indices of the images in their run; None for all of it.
        findings: What was learnt of a hosted pipeline, as plain data; None for a native one.
        record: How the images were generated, as plain data.
        metrics: Metric → its value for each image; None where it could not be measured.
        texts: Texts that a tool made, in place of media.
        steps: Results of the earlier steps of a recipe, by name.
    """

    media: list[Medium]
    seeds: tuple[int, ...]
    seconds: float
    iterations: int
    notes: tuple[str, ...] = ()
    flagged: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()
    together: Mapping[str, Any] | None = None
    numbers: tuple[int, ...] | None = None
    findings: Mapping[str, Any] | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    steps: Mapping[str, Result] = field(default_factory=dict)

    @property
    def kind(self) -> Literal["image", "clip", "sound", "text"]:
        """Kind of the media: `image`, `clip` or `sound`; `text` if a tool made texts."""
        return kind_of(self.media[0]) if self.media else "text"

    @property
    def images(self) -> list[Image.Image]:
        """The images; of each clip its poster, the middle frame, and of each sound its poster, the waveform."""
        return [poster(medium) for medium in self.media]

    @property
    def image(self) -> Image.Image:
        """The first of the images."""
        return poster(self.media[0])

    @property
    def clip(self) -> Clip:
        """The first clip.

        Raises:
            ValueError: The run generated no clips.
        """
        return self._first(Clip)

    @property
    def sound(self) -> Sound:
        """The first sound.

        Raises:
            ValueError: The run generated no sounds.
        """
        return self._first(Sound)

    def _first(self, cls: type[MediumT]) -> MediumT:
        if not isinstance(self.media[0], cls):
            raise ValueError(f"this run generated {self.kind}s, and no {cls.__name__.lower()}: see Result.media")
        return self.media[0]

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
        count = f"{len(self.media)} {self.kind}s" if len(self.media) > 1 else f"1 {self.kind}"
        first, seeds = self.media[0], ", ".join(map(str, self.seeds[:8]))
        what = f"of {first.width} x {first.height} pixels" if isinstance(first, Image.Image) else f"as {first!r}"
        return f"Result({count} {what}, seed {seeds}{', …' if len(self.seeds) > 8 else ''}, {self.seconds:.1f} s)"

    def _repr_png_(self) -> bytes:
        """Return the image that a notebook shows: the only one, or all of them on one sheet."""
        from composer.system.files import encode_png

        return encode_png(self.grid if len(self.media) > 1 else self.image)

    def _repr_html_(self) -> str | None:
        """Return the elements that a notebook shows for clips and sounds; None for images, which it shows as PNG."""
        elements = [medium._repr_html_() for medium in self.media if not isinstance(medium, Image.Image)]
        return "\n".join(elements) or None

    def save(self, folder: str | Path) -> list[Path]:
        """Write the images, clips or sounds, ``run.json`` and ``config.yaml``; earlier steps into directories.

        Args:
            folder: Directory, which is created.

        Returns:
            Paths of the images, clips or sounds.

        Raises:
            ComposerError: The directory can't be written to.
        """

        return save(self, Path(folder))


def files_of_result(result: Result) -> dict[str, bytes]:
    """Encode the files of a result besides its record.

    Args:
        result: The result.

    Returns:
        File name → content; those of earlier steps, with their records, in directories of their names.
    """
    files: dict[str, bytes] = {}
    for name, step in result.steps.items():
        record = {"run.json": json.dumps(step.record, indent=1, ensure_ascii=False).encode()}
        files |= {f"{name}/{file}": data for file, data in {**files_of_result(step), **record}.items()}
    files |= files_of(result.media, result.numbers, result.record)
    return files | {f"{number:03d}.txt": text.encode() for number, text in enumerate(result.texts)}


def save(result: Result, folder: Path, more: Sequence[Path] = ()) -> list[Path]:
    """Write ``000.png``, …, a grid of several images, ``config.yaml``, and ``run.json`` last, which marks completeness.

    Args:
        result: The result.
        folder: Directory, which is created.
        more: Files in it that callbacks have written; run.json names them with their hashes, as it does the others.

    Returns:
        Paths of the images, clips or sounds.

    Raises:
        ComposerError: The directory can't be written to; files that were written are removed.
    """
    files = files_of_result(result)
    hashes = {path.relative_to(folder).as_posix(): hash_of(path) for path in more}
    hashes |= {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    record = {**result.record, "files": hashes}
    files |= {"run.json": json.dumps(record, indent=1, ensure_ascii=False).encode()}
    try:
        write_files(folder, files)
    except OSError as error:
        parents = dict.fromkeys((folder / name).parent for name in files)
        leave_nothing(parent for parent in parents if parent != folder)
        raise ComposerError("output.folder", folder, f"can't be written to: {error.strerror}") from None
    return [folder / name for name in file_names(len(result.media), result.numbers, result.record)]
