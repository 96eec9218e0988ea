"""Texts in WAV files: the chunk `LIST` of type `INFO`.

See the Multimedia Programming Interface and Data Specifications 1.0 of IBM and Microsoft, 1991, chapter 2.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import BinaryIO

#: Name of a text → its chunk: comment and subject.
INFO = {"comment": b"ICMT", "description": b"ISBJ"}
#: Most chunks that are looked at, and most bytes of a text.
MAX_CHUNKS, MAX_TEXT_BYTES = 1000, 1 << 20


def with_texts(data: bytes, texts: Mapping[str, str]) -> bytes:
    """Add texts to a WAV file.

    Args:
        data: The file.
        texts: Texts by name; `INFO` lists the names.

    Returns:
        The file with a further chunk at its end; the same if there are no texts.
    """
    if not texts:
        return data
    body = b"INFO" + b"".join(_chunk(INFO[name], text.encode() + b"\0") for name, text in texts.items())
    data += _chunk(b"LIST", body)
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def read_texts(file: BinaryIO) -> dict[str, str]:
    """Read the texts of a WAV file, from an untrusted source too.

    Args:
        file: A file that can seek.

    Returns:
        Texts by name, as far as the file is valid.
    """
    size = file.seek(0, io.SEEK_END)
    for kind, begin, end in _chunks(file, 12, size):
        if kind == b"LIST" and _read(file, begin, begin + 4) == b"INFO":
            names = {chunk: name for name, chunk in INFO.items()}
            spans = {names[kind]: (first, last) for kind, first, last in _chunks(file, begin + 4, end) if kind in names}
            return {
                name: _read(file, first, last).rstrip(b"\0").decode("utf-8", "replace")
                for name, (first, last) in spans.items()
                if last - first <= MAX_TEXT_BYTES
            }
    return {}


def _chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk, padded to an even length."""
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _chunks(file: BinaryIO, begin: int, end: int) -> list[tuple[bytes, int, int]]:
    """Kind, begin and end of the contents of each chunk in a span, up to the first invalid one."""
    chunks: list[tuple[bytes, int, int]] = []
    while begin + 8 <= end and len(chunks) < MAX_CHUNKS:
        kind, size = struct.unpack("<4sI", _read(file, begin, begin + 8))
        if begin + 8 + size > end:
            break
        chunks.append((kind, begin + 8, begin + 8 + size))
        begin += 8 + size + size % 2
    return chunks


def _read(file: BinaryIO, begin: int, end: int) -> bytes:
    file.seek(begin)
    return file.read(end - begin)
