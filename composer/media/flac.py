"""Texts in FLAC files: the metadata block of Vorbis comments (https://www.rfc-editor.org/rfc/rfc9639, section 8.6)."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from typing import BinaryIO

SIGNATURE = b"fLaC"
COMMENTS, LAST = 4, 0x80
#: Length field of a block is 24 bits wide.
MAX_BLOCK_BYTES = (1 << 24) - 1
#: Most blocks and comments that are looked at, and most bytes of the block of comments.
MAX_ENTRIES, MAX_TEXT_BYTES = 1000, 1 << 20


def with_texts(data: bytes, texts: Mapping[str, str]) -> bytes:
    """Replace the texts of a FLAC file.

    Args:
        data: The file.
        texts: Texts by name.

    Returns:
        The file, with the texts after its first block; the same if there are none, or if they don't fit into a block.
    """
    block = _encode_comments(texts)
    if not texts or len(block) > MAX_BLOCK_BYTES:
        return data
    file = io.BytesIO(data)
    blocks = [(kind, data[begin:end]) for kind, begin, end in _blocks(file)]
    frames = data[max(end for _, _, end in _blocks(file)) :]
    first, *others = [entry for entry in blocks if entry[0] != COMMENTS]
    entries = [first, (COMMENTS, block), *others]
    heads = [kind | (LAST if i == len(entries) - 1 else 0) for i, (kind, _) in enumerate(entries)]
    packed = (bytes([head]) + len(body).to_bytes(3, "big") + body for head, (_, body) in zip(heads, entries))
    return SIGNATURE + b"".join(packed) + frames


def read_texts(file: BinaryIO) -> dict[str, str]:
    """Read the texts of a FLAC file, from an untrusted source too.

    Args:
        file: A file that can seek.

    Returns:
        Texts by name in lower case, as far as the file is valid.
    """
    for kind, begin, end in _blocks(file):
        if kind == COMMENTS and end - begin <= MAX_TEXT_BYTES:
            file.seek(begin)
            return dict(_decode_comments(file.read(end - begin)))
    return {}


def _blocks(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """Kind, begin and end of the contents of each metadata block, up to the last or the first invalid one."""
    size, begin = file.seek(0, io.SEEK_END), len(SIGNATURE)
    for _ in range(MAX_ENTRIES):
        file.seek(begin)
        head = file.read(4)
        end = begin + 4 + int.from_bytes(head[1:], "big")
        if len(head) < 4 or end > size:
            return
        yield head[0] & ~LAST, begin + 4, end
        if head[0] & LAST:
            return
        begin = end


def _encode_comments(texts: Mapping[str, str]) -> bytes:
    vendor = b"composer"
    body = struct.pack("<I", len(vendor)) + vendor + struct.pack("<I", len(texts))
    for name, text in texts.items():
        comment = f"{name.upper()}={text}".encode()
        body += struct.pack("<I", len(comment)) + comment
    return body


def _decode_comments(block: bytes) -> Iterator[tuple[str, str]]:
    at = 0

    def take() -> bytes:
        nonlocal at
        length = int.from_bytes(block[at : at + 4], "little")
        at += 4 + length
        return block[at - length : at]

    take()  # the vendor
    count = int.from_bytes(block[at : at + 4], "little")
    at += 4
    for _ in range(min(count, MAX_ENTRIES)):
        if at + 4 > len(block):
            return
        name, separator, text = take().partition(b"=")
        if separator and at <= len(block):
            yield name.decode("ascii", "replace").lower(), text.decode("utf-8", "replace")
