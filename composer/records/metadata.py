"""A run's record inside its files, written and read.

PNG files hold it in the text chunks ``composer`` (JSON) and ``parameters``; JPEG and WebP files in EXIF's
ImageDescription (JSON) and UserComment (parameters); MP4, WAV and FLAC files in their comment (JSON) and description
(parameters); GIF files in their comment (JSON). Files may come from untrusted sources: only small, plain JSON of the
known form is accepted, and it is treated as data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from composer.errors import ComposerError, shorten
from composer.images import embedded_texts
from composer.images.embedded_texts import EXIF_IFD, USER_COMMENT
from composer.images.exif import UNICODE
from composer.media.file_texts import read_file_texts
from composer.media.formats import FORMATS
from composer.records.a1111 import parameters
from composer.system.text_files import read_text
from composer.tasks.limits import SEEDS

KEY, PARAMETERS, COMMENT = "composer", "parameters", "comment"
#: Start of a record in a comment, which other tools may fill with JSON of theirs.
RECORD_START = '{"schema":'
#: Of the record's form. 0, in records without one: with module paths of classes, of which none counts any more.
SCHEMA = 1
#: Exif's ImageDescription.
DESCRIPTION = 0x010E
#: Bytes of the longest record that is read in an image, and of the longest run.json, which names all files.
MAX_CHARACTERS, MAX_FILE = 256 << 10, 1 << 20
#: Bytes that JPEG has for all of EXIF; a longer record stays in run.json.
JPEG = 65000
#: How deep lists and settings are nested in it at most.
MAX_DEPTH = 20
#: What is read of a record, and of which kind it must be.
SHAPE = {
    "composer": str, "images": list, "options": dict, "config": dict, "device": str, "versions": dict, "batches": list,
    "pixels": list, "memory": dict, "callbacks": dict, "inputs": dict, "stamp": str, "threads": int, "dtypes": dict,
}  # fmt: skip


def texts_of(record: Mapping[str, Any], number: int | None) -> dict[str, str]:
    """Return the texts that files of a run hold.

    Args:
        record: Record of the run.
        number: Index of the image, clip or sound in the run; None for the grid of all.

    Returns:
        The record as JSON under ``comment``, and what other tools read under ``description``; empty if the record
        holds no images.
    """
    if "images" not in record:
        return {}
    text = json.dumps({**record, "number": number}, ensure_ascii=True, separators=(",", ":"))
    return {COMMENT: text, "description": parameters(record, number or 0)}


def pillow_options(texts: Mapping[str, str], form: str) -> dict[str, Any]:
    """Return the arguments of PIL's ``save`` that embed texts.

    Args:
        texts: Texts by name, as `texts_of` returns them.
        form: Format of the file: ``png``, ``jpeg``, ``webp`` or ``gif``; others are not PIL's.
    """
    if not texts:
        return {}
    text, words = texts[COMMENT], texts["description"]
    if form == "gif":
        return {"comment": text}
    if form == "png":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_text(PARAMETERS, words)
        chunks.add_text(KEY, text)
        return {"pnginfo": chunks}
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD)[USER_COMMENT] = UNICODE + words.encode("utf-16-be")
    if form != "jpeg" or len(text) + 2 * len(words) < JPEG:
        exif[DESCRIPTION] = text
    return {"exif": exif}


def read(path: Path) -> dict[str, Any]:
    """Read the record in an image or in a ``run.json``.

    Args:
        path: The file.

    Returns:
        The record, with ``number`` set.

    Raises:
        ComposerError: The file can't be read, or holds no valid record.
    """
    text, most = _text(path), MAX_FILE if path.suffix == ".json" else MAX_CHARACTERS
    if len(text) > most:
        raise ComposerError(
            str(path), None, f"its record is longer than {most >> 10} KiB, so composer did not write it"
        )
    try:
        record = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ComposerError(str(path), None, f"its record can't be read: {error}") from None
    _check(path, record)
    return record


def record_file(path: Path) -> Path:
    """Return the file that holds the record of what a user names.

    Args:
        path: A file; a directory of a run; or the directory of a clip's frames.

    Returns:
        The file itself, the run's ``run.json``, or the first frame.
    """
    if not path.is_dir():
        return path
    frames = sorted(path.glob("*.png")) if path.suffix == f".{FORMATS['frames'].suffix}" else []
    return frames[0] if frames else path / "run.json"


def _text(path: Path) -> str:
    if path.suffix == ".json":
        try:
            if path.stat().st_size > MAX_FILE:
                return " " * (MAX_FILE + 1)
            return read_text(path)
        except (OSError, UnicodeError) as error:
            raise ComposerError(
                str(path), None, f"can't be read: {getattr(error, 'strerror', None) or 'it is no UTF-8 text'}"
            ) from None
    inside = read_file_texts(path)
    text = inside.texts.get(KEY) or inside.texts.get("ImageDescription", "")
    if not text.startswith("{"):
        comment = inside.texts.get(COMMENT, "")
        text = comment if comment.startswith(RECORD_START) else ""
    if not text:
        raise ComposerError(str(path), None, f"holds no record of composer's{_instead(path, inside)}")
    return text


def _instead(path: Path, inside: embedded_texts.FileTexts) -> str:
    """Describe an image without a record."""
    if KEY in inside.damaged:
        return " that can be read: the text chunk that was one is damaged or too long"
    if not inside.texts or inside.tool == embedded_texts.COMPOSER:
        return "; where it came from, there may be a run.json beside it"
    whose = f"one of {inside.tool}" if inside.tool else "texts of another tool"
    return f", but {whose}: `compose info {path.name}` shows it, and composer can't generate from it"


def _check(path: Path, record: Any) -> None:
    """Refuse a record whose form is not composer's."""
    if not isinstance(record, dict):
        raise ComposerError(str(path), None, "its record is no object of JSON")
    schema, choices = record.setdefault("schema", 0), record.setdefault("choices", [])
    if type(schema) is not int or not 0 <= schema <= SCHEMA:
        raise ComposerError(
            str(path),
            None,
            f"its record has a form that this composer does not know ({shorten(schema)}): update composer",
        )
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise ComposerError(str(path), None, "its record has choices of another kind, so composer did not write it")
    for key, kind in SHAPE.items():
        if not isinstance(record.get(key), kind):
            raise ComposerError(
                str(path), None, f"its record has no {key} of the right kind, so it can't be generated again from it"
            )
    notes = record.get("notes", [])
    if (
        not isinstance(record.get("accel", {}), dict)
        or not isinstance(notes, list)
        or not all(isinstance(note, str) for note in notes)
    ):
        raise ComposerError(
            str(path), None, "its record has accel or notes of another kind, so composer did not write it"
        )
    if not _are_media(record.get("media"), len(record["images"])):
        raise ComposerError(str(path), None, "its record does not describe its clips or sounds as composer does")
    if not _shallow(record, MAX_DEPTH):
        raise ComposerError(
            str(path), None, f"its record is nested deeper than {MAX_DEPTH} times, so composer did not write it"
        )
    _check_steps(path, record)
    valid = all(type(size) is int and size >= 1 for size in record["batches"])
    if not _are_images(record["images"]):
        raise ComposerError(
            str(path), None, "its record does not say with which seed and prompt each image was generated"
        )
    number, together = record.setdefault("number", None), record.get("together")
    known = number is None or (type(number) is int and 0 <= number < len(record["images"]))
    if not valid or not known or len(record["pixels"]) != len(record["images"]) or not _is_batch(together):
        raise ComposerError(str(path), None, "its record does not say which image of which batch it is")


def _check_steps(path: Path, record: Mapping[str, Any]) -> None:
    """Refuse a record of a recipe whose steps are not of composer's form."""
    if "recipe" not in record:
        return
    recipe = record["recipe"]
    steps: Any = recipe.get("steps") if isinstance(recipe, dict) else None
    valid = isinstance(steps, dict) and bool(steps) and all(map(_is_step, steps.values()))
    if not valid or not isinstance(recipe.get("name"), str) or type(recipe.get("reuse")) is not bool:
        raise ComposerError(str(path), None, "its record does not describe the steps of its recipe as composer does")
    for name, entry in steps.items():
        inner, is_last = entry.get("record"), name == list(steps)[-1]
        if "tool" not in entry and (inner is not None or not is_last):
            _check(path, inner)


def _is_step(entry: Any) -> bool:
    """Whether a value describes a step of a recipe, apart from the record of a run."""
    if not isinstance(entry, dict) or not isinstance(entry.get("sets"), list):
        return False
    record = entry.get("record")
    is_record = record is None or (isinstance(record, dict) and "recipe" not in record)
    is_valid = is_record and all(isinstance(key, str) for key in entry["sets"])
    return is_valid and ("tool" not in entry or _is_tool(entry["tool"], record or {}))


def _is_tool(name: Any, record: dict[str, Any]) -> bool:
    """Whether a value is the record of a tool."""
    config = record.get("config")
    is_node = isinstance(config, dict) and isinstance(config.get("tool"), dict)
    return isinstance(name, str) and is_node and isinstance(record.get("pixels"), list)


def _are_images(images: Any) -> bool:
    """Whether a value is a list of seed, prompt and negative prompt of images."""
    return isinstance(images, list) and bool(images) and all(map(_is_image, images))


def _is_image(each: Any) -> bool:
    texts = isinstance(each, dict) and all(
        isinstance(each.get(key, 0), (str, type(None))) for key in ("prompt", "negative_prompt")
    )
    return texts and type(each.get("seed")) is int and 0 <= each["seed"] < SEEDS


def _are_media(media: Any, count: int) -> bool:
    """Whether a value is absent, as for images, or describes so many clips or sounds."""
    if media is None:
        return True
    kinds = (
        [entry.get("kind") if isinstance(entry, dict) else None for entry in media] if isinstance(media, list) else []
    )
    return len(kinds) == count and all(kind in ("clip", "sound") for kind in kinds)


def _is_batch(together: Any) -> bool:
    """Whether a value is None, or lists all images of the batches of a sweep's job with the index of the job's first
    one.
    """
    if together is None:
        return True
    return (
        isinstance(together, dict)
        and type(together.get("begin")) is int
        and together["begin"] >= 0
        and _are_images(together.get("pictures"))
    )


def _shallow(node: Any, most: int) -> bool:
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return most > 0 and all(_shallow(item, most - 1) for item in inner)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    node = dict(pairs)
    if len(node) != len(pairs):
        raise ValueError("a key is there twice")
    return node
