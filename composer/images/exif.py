"""Exif's UserComment (https://www.cipa.jp/std/documents/e/DC-008-2012_E.pdf, 4.6.5): eight bytes that name an encoding,
and the text.

The name is often wrong, and UNICODE does not say which byte comes first. So a text is read as each encoding that its
name allows, and
what reads best is taken.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

UNICODE = b"UNICODE\0"
#: Encodings in which little but their own texts can be read: one that reads cleanly is it.
_STRICT = ("iso2022_jp", "utf-8")
_UTF16 = ("utf-16-be", "utf-16-le")  # of two that read equally well the first, which is Exif's own
#: The name of an encoding → what to try, in this order. Other texts begin without any name.
_NAMES = {
    UNICODE: (*_UTF16, "utf-8"),
    b"ASCII\0\0\0": ("utf-8", *_UTF16),
    b"JIS\0\0\0\0\0": ("iso2022_jp", "utf-8", "shift_jis", "euc_jp", *_UTF16),
    b"\0" * 8: ("utf-8", *_UTF16),
}
_BOMS = {b"\xfe\xff": ("utf-16-be",), b"\xff\xfe": ("utf-16-le",), b"\xef\xbb\xbf": ("utf-8",)}


def decoded(data: bytes) -> str:
    """The text of a UserComment; empty where there is none."""
    name = next((each for each in _NAMES if data.startswith(each)), b"")
    body = data[len(name) :]
    mark = next((each for each in _BOMS if body.startswith(each)), b"")
    encodings, body = _BOMS.get(mark) or _NAMES.get(name) or ("utf-8", *_UTF16), body[len(mark) :]
    if name != UNICODE and not mark and b"\0" not in body.rstrip(b"\0"):  # not two bytes a letter, then
        encodings = tuple(each for each in encodings if each not in _UTF16)
    readings = dict(_readings(body, encodings))
    strict = () if name == UNICODE and len(body) % 2 == 0 else _STRICT
    clean = [text for encoding, text in readings.items() if encoding in strict and likely(text)[0] == 1]
    return clean[0] if clean else max(readings.values(), key=likely, default=body.decode("latin-1").strip("\0 "))


def likely(text: str) -> tuple[float, float]:
    """How much of a text reads as one: the share of its letters that are assigned, and how few blocks of 256 they are
    from.
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
