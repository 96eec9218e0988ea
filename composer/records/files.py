"""The files of a run: its images, clips and sounds in their format, posters, a grid, and the config."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import yaml
from PIL import Image

from composer.config.spec import OutputSpec
from composer.media.clip import Clip
from composer.media.formats import FORMATS
from composer.media.medium import Medium, poster
from composer.media.sound import Sound
from composer.records.metadata import pillow_options, texts_of

#: Of PNG: PIL's own, 6, takes three times as long and saves 4 % of the bytes.
COMPRESSION = 4
#: Posters and grids of clips and sounds.
POSTER = OutputSpec(format="jpeg", quality=90)


def files_of(media: Sequence[Medium], indices: Sequence[int] | None, record: Mapping[str, Any]) -> dict[str, bytes]:
    """Encode the files of a run besides its record.

    Args:
        media: Images, clips or sounds.
        indices: Indices of the media in their run; None for all of it.
        record: Record of the run.

    Returns:
        File name → content. A clip in the format `frames` has one file a frame, in a directory.
    """
    config = record.get("config", {})
    output = OutputSpec(**{"format": "png", **config.get("output", {})})
    files: dict[str, bytes] = {}
    for medium, number in zip(media, indices or range(len(media))):
        files |= _medium_files(medium, f"{number:03d}", output, record, number)
    if len(media) > 1:
        of_images = all(isinstance(medium, Image.Image) for medium in media)
        form = output if of_images else POSTER
        sheet = grid([poster(medium) for medium in media])
        files[f"grid.{FORMATS[form.format].suffix}"] = encode_image(sheet, form, _options(record, None, form))
    return files | {"config.yaml": config_yaml(config).encode()}


def config_yaml(config: Mapping[str, Any]) -> str:
    """Write a config as YAML that composes to the same values.

    Args:
        config: Plain data with texts as keys.
    """
    items = literal(config).items()
    return "".join([_yaml_of(key, json.dumps(value)) for key, value in items]) if items else "{}\n"


@lru_cache(maxsize=1024)  # of the configs of a sweep's jobs all is the same but a seed or a prompt
def _yaml_of(key: str, value: str) -> str:
    """One key of a mapping with its value, which is given as JSON."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml's is ten times faster
    return yaml.dump({key: json.loads(value)}, Dumper=dumper, sort_keys=False, allow_unicode=True)


def file_names(count: int, indices: Sequence[int] | None, record: Mapping[str, Any]) -> list[str]:
    """Return the names of the media's files; of a clip in the format `frames` its directory.

    Args:
        count: Number of media.
        indices: Indices of the media in their run; None for all of it.
        record: Record of the run.
    """
    form = record.get("config", {}).get("output", {}).get("format", "png")
    return [f"{number:03d}.{FORMATS[form].suffix}" for number in indices or range(count)]


def encode_image(
    image: Image.Image, output: OutputSpec, more: Mapping[str, Any] = MappingProxyType({})
) -> bytes:  # fmt: skip
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


def _medium_files(
    medium: Medium, stem: str, output: OutputSpec, record: Mapping[str, Any], number: int
) -> dict[str, bytes]:  # fmt: skip
    """The files of one medium: its own, and of a clip or a sound a poster."""
    name = f"{stem}.{FORMATS[output.format].suffix}"
    if isinstance(medium, Image.Image):
        return {name: encode_image(medium, output, _options(record, number, output))}
    files = {f"{stem}.poster.jpg": encode_image(medium.poster(), POSTER, _options(record, number, POSTER))}
    if isinstance(medium, Sound):
        return {name: medium.encode(output.format, texts_of(record, number)), **files}
    return {**dict(_clip_files(medium, stem, name, output, record, number)), **files}


def _clip_files(
    clip: Clip, stem: str, name: str, output: OutputSpec, record: Mapping[str, Any], number: int
) -> Iterator[tuple[str, bytes]]:
    if output.format == "frames":
        png = OutputSpec(format="png")
        options = _options(record, number, png)
        for i, frame in enumerate(clip.frames):
            yield f"{name}/{i:04d}.png", encode_image(frame, png, options)
    else:
        texts, options = texts_of(record, number), _options(record, number, output)
        yield name, clip.encode(output.format, output.quality, texts, options)
    if clip.sound is not None and not FORMATS[output.format].holds_sound:
        yield f"{stem}.wav", clip.sound.encode("wav", texts_of(record, number))


def _options(record: Mapping[str, Any], number: int | None, output: OutputSpec) -> dict[str, Any]:
    return pillow_options(texts_of(record, number), output.format)


def literal(node: Any) -> Any:
    """Escape interpolations: the config is resolved, and ``${`` in a prompt is text.

    Args:
        node: Mappings, lists and scalars.

    Returns:
        A copy as config.yaml has it.
    """
    if isinstance(node, Mapping):
        return {key: literal(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [literal(value) for value in node]
    return node.replace("${", "\\${") if isinstance(node, str) else node
