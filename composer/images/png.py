"""PNG files by chunk (https://www.w3.org/TR/png-3/): pixels without texts, and texts within limits.

PIL reads every chunk that it knows before it returns a pixel, and refuses a file for a long text or a wrong checksum in
one.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
#: Texts that can contain the orientation, as eXIf does, and the most bytes that PIL reads of one.
ORIENTATION, MAX_PIL_TEXT_BYTES = ("Raw profile type exif", "XML:com.adobe.xmp"), 1 << 20
#: Longest text, and all texts of a file together, in bytes.
MAX_TEXT_BYTES, MAX_TEXTS_BYTES = 16 << 20, 64 << 20


@dataclass(frozen=True)
class Chunk:
    """A chunk of a PNG file.

    Attributes:
        kind: Its four letters.
        begin: Offset of its length field, in bytes.
        end: Offset after its checksum, or the end of the file.
        complete: Whether it is complete.
    """

    kind: bytes
    begin: int
    end: int
    complete: bool

    def data(self, file: BinaryIO) -> bytes | None:
        """Read the contents of the chunk.

        Args:
            file: The PNG file.

        Returns:
            Its bytes; `None` if the checksum differs.
        """
        file.seek(self.begin + 4)
        body, checksum = file.read(self.end - self.begin - 8), file.read(4)
        return body[4:] if self.complete and zlib.crc32(body) == int.from_bytes(checksum, "big") else None


def is_png(file: BinaryIO) -> bool:
    """Return whether a file begins with the PNG signature.

    Args:
        file: A file that can seek.

    Returns:
        Whether it does.
    """
    file.seek(0)
    return file.read(len(SIGNATURE)) == SIGNATURE


def iter_chunks(file: BinaryIO) -> Iterator[Chunk]:
    """Iterate over the chunks of a PNG file, up to its end or to the first invalid one.

    Args:
        file: The PNG file.

    Yields:
        The chunks.
    """
    size, begin = file.seek(0, io.SEEK_END), len(SIGNATURE)
    while begin < size:
        file.seek(begin)
        head = file.read(8)
        length, kind = struct.unpack(">I4s", head) if len(head) == 8 else (size, b"")
        end = begin + length + 12 if kind.isalpha() else size
        yield Chunk(kind, begin, min(end, size), kind.isalpha() and end <= size)
        if kind == b"IEND":
            return
        begin = end


def without_texts(file: BinaryIO) -> BinaryIO:
    """Open a PNG file without the chunks that its pixels do not depend on.

    Args:
        file: The PNG file.

    Returns:
        A file of the remaining chunks.
    """
    spans = [(0, len(SIGNATURE)), *((chunk.begin, chunk.end) for chunk in iter_chunks(file) if _needed(file, chunk))]
    return io.BufferedReader(_Spans(file, spans), 1 << 16)


def read_texts(file: BinaryIO) -> tuple[dict[str, str], list[str]]:
    """Read the texts of a PNG file.

    Args:
        file: The PNG file.

    Returns:
        Texts by keyword, the last one of each, and the keywords of those that are damaged or too long.
    """
    texts: dict[str, str] = {}
    damaged: list[str] = []
    remaining = MAX_TEXTS_BYTES
    for chunk in iter_chunks(file):
        if chunk.kind not in TEXTS:
            continue
        data = chunk.data(file) if chunk.end - chunk.begin <= MAX_TEXT_BYTES else None
        key, text = (
            _text(chunk.kind, data, min(MAX_TEXT_BYTES, remaining))
            if data is not None
            else (_keyword(file, chunk), None)
        )
        if text is None:
            damaged.append(key)
        else:
            texts[key], remaining = text, remaining - len(text)
    return texts, damaged


def _needed(file: BinaryIO, chunk: Chunk) -> bool:
    """Whether pixels may depend on a chunk; a capital first letter marks chunks that no reader may skip."""
    if not chunk.complete or chunk.kind[:1].isupper() or chunk.kind == b"tRNS":
        return True  # PIL reports what is wrong with an incomplete one
    if chunk.kind == b"eXIf":
        return chunk.data(file) is not None
    if (
        chunk.kind not in TEXTS
        or chunk.end - chunk.begin > MAX_PIL_TEXT_BYTES
        or _keyword(file, chunk) not in ORIENTATION
    ):
        return False
    data = chunk.data(file)
    return data is not None and _text(chunk.kind, data, MAX_PIL_TEXT_BYTES)[1] is not None


def _keyword(file: BinaryIO, chunk: Chunk) -> str:
    file.seek(chunk.begin + 8)
    return file.read(79).split(b"\0")[0].decode("latin-1")


def _text(kind: bytes, data: bytes, most: int) -> tuple[str, str | None]:
    """Keyword and text of a chunk; `None` for a text that cannot be read or is too long."""
    keyword, _, rest = data.partition(b"\0")
    plain: bytes | None = rest
    if kind == b"zTXt":
        plain = _inflated(rest, most)
    elif kind == b"iTXt":
        flag, body = rest[:1], rest[1:2] + rest[2:].split(b"\0", 2)[-1]
        plain = _inflated(body, most) if flag == b"\1" else body[1:]
    text = (
        None
        if plain is None or len(plain) > most
        else plain.decode("utf-8" if kind == b"iTXt" else "latin-1", "replace")
    )
    return keyword.decode("latin-1"), text


def _inflated(data: bytes, most: int) -> bytes | None:
    """Data after the compression method, which is always 0; at most one byte more than `most`."""
    try:
        return zlib.decompressobj().decompress(data[1:], most + 1) if data[:1] == b"\0" else None
    except zlib.error:
        return None


class _Spans(io.RawIOBase):
    """Parts of a file, read as if they followed each other."""

    def __init__(self, file: BinaryIO, spans: list[tuple[int, int]]) -> None:
        self.file, self.spans, self.at = file, spans, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        size = sum(end - begin for begin, end in self.spans)
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: size}[whence]
        return self.at

    def readinto(self, buffer: Any) -> int:
        before = self.at
        for begin, end in self.spans:
            if before < end - begin:
                self.file.seek(begin + before)
                read = self.file.read(min(len(buffer), end - begin - before))
                buffer[: len(read)] = read
                self.at += len(read)
                return len(read)
            before -= end - begin
        return 0
