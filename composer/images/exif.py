"""Exif's UserComment: eight bytes that name an encoding, and the text.

See https://www.cipa.jp/std/documents/e/DC-008-2012_E.pdf, 4.6.5. The name is often wrong, and `UNICODE` does not define
the byte order. A text is therefore decoded with each encoding that its name allows, and the most readable result is
used.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

UNICODE = b"UNICODE\0"
#: Encodings that few other texts are valid in: one that reads cleanly is right.
_STRICT = ("iso2022_jp", "utf-8")
_UTF16 = ("utf-16-be", "utf-16-le")  # of two equally readable ones the first, which Exif defines
#: Name of an encoding → encodings to try, in this order.
_NAMES = {
    UNICODE: (*_UTF16, "utf-8"),
    b"ASCII\0\0\0": ("utf-8", *_UTF16),
    b"JIS\0\0\0\0\0": ("iso2022_jp", "utf-8", "shift_jis", "euc_jp", *_UTF16),
    b"\0" * 8: ("utf-8", *_UTF16),
}
_BOMS = {b"\xfe\xff": ("utf-16-be",), b"\xff\xfe": ("utf-16-le",), b"\xef\xbb\xbf": ("utf-8",)}


def decode_comment(data: bytes) -> str:
    """Decode a UserComment.

    Args:
        data: The bytes of the tag.

    Returns:
        The text; empty if there is none.
    """
    name = next((prefix for prefix in _NAMES if data.startswith(prefix)), b"")
    body = data[len(name) :]
    mark = next((prefix for prefix in _BOMS if body.startswith(prefix)), b"")
    encodings, body = _BOMS.get(mark) or _NAMES.get(name) or ("utf-8", *_UTF16), body[len(mark) :]
    if name != UNICODE and not mark and b"\0" not in body.rstrip(b"\0"):  # so it is not UTF-16
        encodings = tuple(encoding for encoding in encodings if encoding not in _UTF16)
    readings = dict(_readings(body, encodings))
    strict = () if name == UNICODE and len(body) % 2 == 0 else _STRICT
    clean = [text for encoding, text in readings.items() if encoding in strict and readability(text)[0] == 1]
    return clean[0] if clean else max(readings.values(), key=readability, default=body.decode("latin-1").strip("\0 "))


def readability(text: str) -> tuple[float, float]:
    """Rate how much a decoded text looks like text.

    Args:
        text: The text.

    Returns:
        The fraction of characters that are assigned and printable, in `[0, 1]`, and minus the number of Unicode blocks
        of 256 that they are from, a character. Larger is better.
    """
    if not text:
        return 0.0, 0.0
    strange = sum(unicodedata.category(c) in ("Cn", "Co", "Cs", "Cc") and c not in "\t\n\r" for c in text)
    return 1 - strange / len(text), -len({ord(c) >> 8 for c in text}) / len(text)


def _readings(body: bytes, encodings: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for encoding in encodings:
        even = body[: len(body) // 2 * 2] if encoding in _UTF16 else body
        try:
            yield encoding, even.decode(encoding).rstrip("\0 ")
        except UnicodeDecodeError:
            continue
