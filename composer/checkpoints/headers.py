"""The table of a weights file, read without its weights; a file that has none is called what it is, by its first bytes."""

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
#: What to do about pickles.
SAFER = "use a .safetensors file, or type model.allow_pickle=true if you trust where they come from"
_AGAIN = "download it again"
#: What a file begins with → what it is, and what to do.
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
#: How torch.save begins a file: a zip archive, or a pickle of protocol 2 and later.
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
#: Longest table that the safetensors library reads.
_LONGEST = 100_000_000


def header(path: Path, key: str = "model.source") -> dict[str, Any]:
    """The table of a safetensors file: tensor name → dtype, shape and place. https://huggingface.co/docs/safetensors

    That of a GGUF file is told in the same form. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

    Args:
        key: that named the file, for the error.

    Raises:
        ComposerError: the file is damaged, or is something else.
    """
    try:
        state = path.stat()
        return _gguf_header(path, key) if path.suffix == QUANTISED else _header(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise ComposerError(key, path, f"can't be read: {error.strerror}") from None
    except ValueError as error:
        raise ComposerError(key, path, str(error)) from None


def check_pickle(path: Path, key: str) -> None:
    """Refuse a file named as a pickle that is none, or is cut short; nothing of it is run.

    Raises:
        ComposerError: what it is instead.
    """
    begin = _first(path)
    if begin[8:9] == b"{" and int.from_bytes(begin[:8], "little") < path.stat().st_size:
        raise ComposerError(key, path, f"is a safetensors file: rename it to {path.stem}{SAFETENSORS}")
    if not begin.startswith(_PICKLES):
        raise ComposerError(key, path, _what(begin) or f"is damaged, {_AGAIN}: it is no file of torch.save")
    if begin.startswith(b"PK") and not is_zipfile(path):
        raise ComposerError(key, path, f"is damaged, {_AGAIN}: it is cut short")


def weights_of(files: list[Path]) -> dict[str, int]:
    """Files, links resolved → how many numbers each holds: from the headers, or for a pickle from its size as 32 bits
    each.
    """
    return {
        str(file.resolve()): file.stat().st_size // 4 if file.suffix in PICKLED else count(header(file))
        for file in files
    }


def count(table: dict[str, Any]) -> int:
    """Numbers in all tensors of a table."""
    return sum(prod(entry["shape"]) for entry in table.values())


@lru_cache(maxsize=256)  # each job of a sweep asks for them
def _header(path: Path, size: int, written: int) -> dict[str, Any]:
    begin = _first(path)
    length = int.from_bytes(begin[:8], "little")
    if (found := _what(begin)) and begin[8:9] != b"{":
        raise ValueError(found)
    if size < 8 or length > size - 8 or length > _LONGEST:
        raise ValueError(
            f"is damaged, {_AGAIN}: "
            + ("it is cut short" if begin[8:9] == b"{" else "it begins with no table of tensors")
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
        how = (
            f"it is cut short, {size:,} of {end:,} bytes"
            if end > size
            else f"it is {size - end:,} bytes longer than its table says"
        )
        raise ValueError(f"is damaged, {_AGAIN}: {how}")
    return table


def _first(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64)


def _what(begin: bytes) -> str | None:
    """What a file is that begins so, and what to do, if it is nothing that holds safe weights."""
    if not begin:
        return f"is empty: {_AGAIN}"
    if begin.startswith(_PICKLES):
        return "is a pickled file, whatever its name says (as torch.save writes it): use real safetensors, or name it .ckpt"
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
    begin = _first(path)
    if not begin.startswith(b"GGUF"):
        raise ValueError(_what(begin) or f"is damaged, {_AGAIN}: it does not begin as GGUF files do")
    try:
        tensors = GGUFReader(path).tensors
        table = {
            each.name: {
                "dtype": each.tensor_type.name,
                "shape": [int(n) for n in each.shape],
                "data_offsets": [int(each.data_offset), int(each.data_offset + each.n_bytes)],
            }
            for each in tensors
        }
        if not table or max(entry["data_offsets"][1] for entry in table.values()) > os.path.getsize(path):
            raise ValueError("it is cut short")
    except Exception as error:  # the reader trusts what it reads
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"is damaged, {_AGAIN}: {why}") from None
    return table
