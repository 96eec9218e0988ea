"""Texts in MP4 files: the boxes moov/udta/meta/ilst, read without a decoder.

See ISO/IEC 14496-12 for boxes, and https://developer.apple.com/documentation/quicktime-file-format for `ilst`.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

#: Box → name of its text.
NAMES = {b"\xa9cmt": "comment", b"desc": "description", b"\xa9nam": "title", b"\xa9too": "encoder"}
#: Boxes above those of texts, from the outermost. After its head, `meta` has four bytes of version and flags.
ABOVE = (b"moov", b"udta", b"meta", b"ilst")
#: Head of the box `data`: kind of its content, where 1 is UTF-8, and language.
DATA_HEAD = struct.Struct(">II")
UTF_8 = 1
#: Most boxes at one level that are looked at, and most bytes of a text.
MAX_BOXES, MAX_TEXT_BYTES = 1000, 1 << 20


def is_mp4(head: bytes) -> bool:
    """Return whether a file is an MP4 or a similar one by its first 12 bytes.

    Args:
        head: The bytes.
    """
    return head[4:8] == b"ftyp"


def read_texts(file: BinaryIO) -> dict[str, str]:
    """Read the texts of an MP4 file, from an untrusted source too.

    Args:
        file: A file that can seek.

    Returns:
        Texts by name, as far as the file is valid.
    """
    spans = [(0, file.seek(0, io.SEEK_END))]
    for kind in ABOVE:
        version = 4 if kind == b"meta" else 0
        spans = [(begin + version, end) for span in spans for name, begin, end in _boxes(file, *span) if name == kind]
        spans = spans[:MAX_BOXES]
    texts: dict[str, str] = {}
    for span in spans:
        for kind, begin, end in _boxes(file, *span):
            text = _text(file, begin, end) if kind in NAMES else None
            if text is not None:
                texts[NAMES[kind]] = text
    return texts


def _text(file: BinaryIO, begin: int, end: int) -> str | None:
    """The text in a box of `ilst`; `None` if it has none, or one that is too long."""
    for kind, first, last in _boxes(file, begin, end):
        if kind == b"data" and DATA_HEAD.size <= last - first <= MAX_TEXT_BYTES:
            file.seek(first)
            content = file.read(last - first)
            if DATA_HEAD.unpack_from(content)[0] == UTF_8:
                return content[DATA_HEAD.size :].decode("utf-8", "replace")
    return None


def _boxes(file: BinaryIO, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of the contents of each box in a span, up to the first invalid one."""
    for _ in range(MAX_BOXES):
        file.seek(begin)
        head = file.read(16)
        if len(head) < 8 or begin + 8 > end:
            return
        size, kind, length = int.from_bytes(head[:4], "big"), head[4:8], 8
        if size == 1:  # the size follows, in 64 bits
            size, length = int.from_bytes(head[8:], "big"), 16
        elif size == 0:  # up to the end
            size = end - begin
        if size < length or begin + size > end:
            return
        yield kind, begin + length, begin + size
        begin += size
