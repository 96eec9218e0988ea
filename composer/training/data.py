"""The images of a training with their captions: found, read and hashed before any weights are loaded.

A caption is in a text file beside its image, `cat.png` and `cat.txt`, or in a `metadata.jsonl` as Hugging Face's
imagefolder has it: one object a line, with `file_name` and `text` (or `caption`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from composer.errors import ComposerError
from composer.images.reading import read_image
from composer.system.paths import expand_user

#: Suffixes of files that are taken for images.
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
METADATA = "metadata.jsonl"
#: Keys of a line's caption, the first that is there.
CAPTION_KEYS = ("text", "caption")
#: Files that an error names.
_MOST_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Example:
    """An image with its caption.

    Attributes:
        path: The file.
        caption: Its caption.
        size: Width and height in pixels, upright.
        sha256: SHA-256 of the file, in hexadecimal.
    """

    path: Path
    caption: str
    size: tuple[int, int]
    sha256: str


@dataclass(frozen=True)
class Dataset:
    """The images of a training, in the order of their names.

    Attributes:
        folder: Their directory.
        examples: The images.
    """

    folder: Path
    examples: tuple[Example, ...]

    @property
    def sha256(self) -> str:
        """SHA-256 of all images and captions in their order, in hexadecimal; names do not count."""
        lines = (f"{example.sha256} {example.caption}" for example in self.examples)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_dataset(folder: str, caption: str | None = None, word: str | None = None) -> Dataset:
    """Find and read all images of a directory and of those inside it.

    Args:
        folder: The directory.
        caption: Caption of images that have none; ``None`` to refuse these.
        word: Word that a caption must hold; ``None`` for any.

    Returns:
        The images.

    Raises:
        ComposerError: There is no such directory, there are no images, captions are missing, images cannot be read, or
            no caption holds the word.
    """
    root = expand_user(folder)
    if not root.is_dir():
        raise ComposerError("data", folder, "there is no such folder")
    captions = _from_metadata(root) if (root / METADATA).is_file() else _from_text_files(root)
    if not captions:
        reason = f"holds no images ({', '.join(SUFFIXES)}): put images there, each with a caption in a .txt file"
        raise ComposerError("data", folder, reason)
    missing = [path for path, text in captions.items() if not text and not caption]
    _refuse(root, missing, len(captions), "have no caption", "write a .txt file beside each, or caption=TEXT for all")
    texts = {path: text or str(caption) for path, text in captions.items()}
    if word is not None and not any(word.lower() in text.lower() for text in texts.values()):
        raise ComposerError("word", word, f"is in none of the {len(texts)} captions, so it would learn nothing")
    return Dataset(root, _read_all(root, texts))


def _from_text_files(root: Path) -> dict[Path, str]:
    images = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return {path: _text(path.with_suffix(".txt")) for path in images}


def _text(path: Path) -> str:
    try:
        return " ".join(path.read_text("utf-8").split()) if path.is_file() else ""
    except (OSError, UnicodeDecodeError):
        raise ComposerError("data", path, "can't be read: captions are text in UTF-8") from None


def _from_metadata(root: Path) -> dict[Path, str]:
    captions: dict[Path, str] = {}
    try:
        lines = (root / METADATA).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise ComposerError("data", root / METADATA, "can't be read: it must be text in UTF-8") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            entry = _entry(root, number, line)
            text = next((entry[key] for key in CAPTION_KEYS if entry.get(key)), "")
            captions[root / entry["file_name"]] = " ".join(str(text).split())
    missing = [path for path in captions if not path.is_file()]
    _refuse(root, missing, len(captions), "are not there", f"correct {METADATA}")
    return dict(sorted(captions.items()))


def _entry(root: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        entry: Any = json.loads(line)
    except ValueError:
        entry = None
    name = entry.get("file_name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name:
        reason = f'line {number} must be an object such as {{"file_name": "a.png", "text": "a cat"}}'
        raise ComposerError("data", root / METADATA, reason)
    if not (root / name).resolve().is_relative_to(root.resolve()):
        raise ComposerError("data", root / METADATA, f"line {number} names {name}, which is outside of the folder")
    return entry


def _read_all(root: Path, captions: Mapping[Path, str]) -> tuple[Example, ...]:
    examples, broken, first = [], [], ""
    for path, caption in captions.items():
        try:
            image = read_image("data", str(path))
        except ComposerError as error:
            broken.append(path)
            first = first or error.reason
            continue
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        examples.append(Example(path=path, caption=caption, size=image.size, sha256=sha256))
    _refuse(root, broken, len(captions), "can't be read", f"the first: {first}")
    return tuple(examples)


def _refuse(root: Path, paths: Sequence[Path], count: int, what: str, advice: str) -> None:
    """Refuse a directory by the names of the files at fault."""
    if paths:
        names = ", ".join(str(path.relative_to(root)) for path in paths[:_MOST_NAMED]) + (
            ", …" if len(paths) > _MOST_NAMED else ""
        )
        raise ComposerError("data", root, f"{len(paths)} of {count} images {what}: {names}; {advice}")
