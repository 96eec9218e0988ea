"""PNG chunk by chunk (https://www.w3.org/TR/png-3/): what pixels need, apart from texts that can be of any length or
damaged.

PIL reads every chunk that it knows before it hands out a pixel, and refuses the file for a long text or a wrong check
sum in one.
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
#: Texts that can say which side is up, as eXIf does, and the bytes that PIL reads of one at most.
ORIENTATION, READ = ("Raw profile type exif", "XML:com.adobe.xmp"), 1 << 20
#: Bytes that a text may come to, and all of a file's texts together.
LONGEST, MOST = 16 << 20, 64 << 20


@dataclass(frozen=True)
class Chunk:
    """kind: its four letters. begin, end: where it lies in the file, with length and check sum. whole: nothing of it is
    cut off.
    """

    kind: bytes
    begin: int
    end: int
    whole: bool

    def data(self, file: BinaryIO) -> bytes | None:
        """Its contents, None where they do not fit the check sum."""
        file.seek(self.begin + 4)
        body, found = file.read(self.end - self.begin - 8), file.read(4)
        return body[4:] if self.whole and zlib.crc32(body) == int.from_bytes(found, "big") else None


def is_png(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(len(SIGNATURE)) == SIGNATURE


def chunks(file: BinaryIO) -> Iterator[Chunk]:
    """The chunks of a PNG up to its end, or up to the first that is none."""
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


def pixels_alone(file: BinaryIO) -> BinaryIO:
    """A PNG without the chunks that its pixels do not depend on."""
    spans = [(0, len(SIGNATURE)), *((chunk.begin, chunk.end) for chunk in chunks(file) if _needed(file, chunk))]
    return io.BufferedReader(_Spans(file, spans), 1 << 16)


def texts(file: BinaryIO) -> tuple[dict[str, str], list[str]]:
    """A PNG's texts by keyword, of one that is there twice the last; and the keywords of those that are damaged or too
    long.
    """
    found: dict[str, str] = {}
    bad: list[str] = []
    room = MOST
    for chunk in chunks(file):
        if chunk.kind not in TEXTS:
            continue
        data = chunk.data(file) if chunk.end - chunk.begin <= LONGEST else None
        key, text = _text(chunk.kind, data, min(LONGEST, room)) if data is not None else (_keyword(file, chunk), None)
        if text is None:
            bad.append(key)
        else:
            found[key], room = text, room - len(text)
    return found, bad


def _needed(file: BinaryIO, chunk: Chunk) -> bool:
    """Whether pixels may depend on a chunk: a capital first letter says that no reader may skip it."""
    if not chunk.whole or chunk.kind[:1].isupper() or chunk.kind == b"tRNS":
        return True  # of a piece of one, PIL says what is wrong
    if chunk.kind == b"eXIf":
        return chunk.data(file) is not None
    if chunk.kind not in TEXTS or chunk.end - chunk.begin > READ or _keyword(file, chunk) not in ORIENTATION:
        return False
    data = chunk.data(file)
    return data is not None and _text(chunk.kind, data, READ)[1] is not None


def _keyword(file: BinaryIO, chunk: Chunk) -> str:
    file.seek(chunk.begin + 8)
    return file.read(79).split(b"\0")[0].decode("latin-1")


def _text(kind: bytes, data: bytes, most: int) -> tuple[str, str | None]:
    """Keyword and text of a chunk; None for a text that can't be read or is too long."""
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
    """What follows the compression method, whose only one is 0; at most one byte more than `most`."""
    try:
        return zlib.decompressobj().decompress(data[1:], most + 1) if data[:1] == b"\0" else None
    except zlib.error:
        return None


class _Spans(io.RawIOBase):
    """Parts of a file, read as if they were one after the other."""

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
