"""Headers of weights files, read without the weights; other kinds of files are recognised by their first bytes."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from composer.errors import ComposerError

SAFETENSORS = ".safetensors"
#: Weights in 2 to 8 bits, of a denoiser alone.
QUANTISED = ".gguf"
PICKLED = (".ckpt", ".bin", ".pt", ".pth")
#: Advice on pickled files.
PICKLE_ADVICE = "use a .safetensors file, or type model.allow_pickle=true if you trust where they come from"
_AGAIN = "download it again"
#: First bytes of other kinds of files → description and advice.
_FOREIGN = (
    (
        b"version https://git-lfs",
        "is a Git LFS pointer and not the weights themselves: `git lfs pull`, or download the file",
    ),
    (b"<", "is a web page and not weights: a download was answered with a page, so download the file itself"),
    (b"{", "is a JSON text and not weights: a download was answered with a message, so download the file itself"),
    (b"\x1f\x8b", "is a compressed archive: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "is a compressed archive: unpack it first"),
    (b"Rar!", "is a compressed archive: unpack it first"),
)
#: First bytes of a file of torch.save: a zip archive, or a pickle of protocol 2 or later.
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
#: Largest header that the safetensors library reads.
_MAX_HEADER_BYTES = 100_000_000


def read_header(path: Path, key: str = "model.source") -> dict[str, Any]:
    """Read the table of tensors of a safetensors or GGUF file.

    See https://huggingface.co/docs/safetensors and https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.

    Args:
        path: The file.
        key: Config key that named the file, for errors.

    Returns:
        Key → ``dtype``, ``shape`` and ``data_offsets`` (begin and end in bytes). GGUF files have the same form.

    Raises:
        ComposerError: The file is damaged or of another kind.
    """
    try:
        state = path.stat()
        if path.suffix == QUANTISED:
            return _gguf_header(path, key)
        return _safetensors_header(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise ComposerError(key, path, f"can't be read: {error.strerror}") from None
    except ValueError as error:
        raise ComposerError(key, path, str(error)) from None


def read_metadata(path: Path) -> dict[str, str]:
    """Read the texts in the header of a safetensors file that `read_header` accepts.

    Args:
        path: The file.

    Returns:
        Key → text; empty if there are none.
    """
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    metadata = header.get("__metadata__") or {}
    return {key: text for key, text in metadata.items() if isinstance(text, str)}


def check_pickle(path: Path, key: str) -> None:
    """Refuse a file with a pickle's suffix that is no pickle, or that is cut short; nothing of it is executed.

    Args:
        path: The file.
        key: Config key that named the file, for errors.

    Raises:
        ComposerError: The file is damaged or of another kind.
    """
    begin = _first_bytes(path)
    if begin[8:9] == b"{" and int.from_bytes(begin[:8], "little") < path.stat().st_size:
        raise ComposerError(key, path, f"is a safetensors file: rename it to {path.stem}{SAFETENSORS}")
    if not begin.startswith(_PICKLES):
        reason = _describe_foreign(begin) or f"is damaged, {_AGAIN}: it is no file of torch.save"
        raise ComposerError(key, path, reason)
    if begin.startswith(b"PK") and not is_zipfile(path):
        raise ComposerError(key, path, f"is damaged, {_AGAIN}: it is cut short")


def count_weights(files: list[Path]) -> dict[str, int]:
    """Count the weights that files hold, without reading them.

    Args:
        files: Weights files.

    Returns:
        Resolved path → number of weights, from the header; for a pickle, from its size at 4 bytes a weight.
    """
    return {
        str(file.resolve()): file.stat().st_size // 4 if file.suffix in PICKLED else _count_elements(file)
        for file in files
    }


def _count_elements(file: Path) -> int:
    if file.suffix == SAFETENSORS:
        state = file.stat()
        return _count_safetensors(file, state.st_size, state.st_mtime_ns)
    return sum(prod(entry["shape"]) for entry in read_header(file).values())


@lru_cache(maxsize=256)  # each job of a sweep counts them
def _count_safetensors(file: Path, size: int, written: int) -> int:
    return sum(prod(entry["shape"]) for entry in read_header(file).values())


@lru_cache(maxsize=256)  # each job of a sweep reads them
def _safetensors_header(path: Path, size: int, written: int) -> dict[str, Any]:
    begin = _first_bytes(path)
    length, is_json = int.from_bytes(begin[:8], "little"), begin[8:9] == b"{"
    if (foreign := _describe_foreign(begin)) and not is_json:
        raise ValueError(foreign)
    if size < 8 or length > size - 8 or length > _MAX_HEADER_BYTES:
        raise ValueError(
            f"is damaged, {_AGAIN}: " + ("it is cut short" if is_json else "it begins with no table of tensors")
        )
    try:
        with path.open("rb") as file:
            file.seek(8)
            table = json.loads(file.read(length))
        table.pop("__metadata__", None)
        end = 8 + length + max((entry["data_offsets"][1] for entry in table.values()), default=0)
        shapes = all(isinstance(n, int) for entry in table.values() for n in entry["shape"])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise ValueError(f"is damaged, {_AGAIN}: its table of tensors can't be read") from None
    if not shapes or not table:
        raise ValueError(f"is damaged, {_AGAIN}: its table of tensors is empty" if shapes else f"is damaged, {_AGAIN}")
    if end != size:
        raise ValueError(f"is damaged, {_AGAIN}: {_wrong_size(size, end)}")
    return table


def _wrong_size(size: int, expected: int) -> str:
    if expected > size:
        return f"it is cut short, {size:,} of {expected:,} bytes"
    return f"it is {size - expected:,} bytes longer than its table says"


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64)


def _describe_foreign(begin: bytes) -> str | None:
    """Describe a file by its first bytes, with advice; None if it may hold safetensors."""
    if not begin:
        return f"is empty: {_AGAIN}"
    if begin.startswith(_PICKLES):
        name = "whatever its name says (as torch.save writes it)"
        return f"is a pickled file, {name}: use real safetensors, or name it .ckpt"
    if begin.startswith(b"GGUF"):
        return "is a GGUF file: name it .gguf and give it as model.components.transformer=FILE"
    if not begin.strip(b"\0"):
        return f"holds zeros where it should begin: its download did not end, {_AGAIN}"
    text = begin.lstrip(b"\xef\xbb\xbf \t\r\n")
    return next((reason for start, reason in _FOREIGN if text.startswith(start)), None)


def _gguf_header(path: Path, key: str) -> dict[str, Any]:
    try:
        from gguf import GGUFReader
    except ImportError:
        raise ComposerError(key, path, "needs the package gguf: pip install 'diffusion-composer[gguf]'") from None
    begin = _first_bytes(path)
    if not begin.startswith(b"GGUF"):
        raise ValueError(_describe_foreign(begin) or f"is damaged, {_AGAIN}: it does not begin as GGUF files do")
    try:
        table: dict[str, Any] = {
            tensor.name: {
                "dtype": tensor.tensor_type.name,
                "shape": [int(size) for size in tensor.shape],
                "data_offsets": [int(tensor.data_offset), int(tensor.data_offset + tensor.n_bytes)],
            }
            for tensor in GGUFReader(path).tensors
        }
        if not table or max(entry["data_offsets"][1] for entry in table.values()) > os.path.getsize(path):
            raise ValueError("it is cut short")
    except Exception as error:  # the reader trusts what it reads
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"is damaged, {_AGAIN}: {why}") from None
    return table
