"""Reading of text files that users bring, in any encoding that editors write."""

from __future__ import annotations

from pathlib import Path

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
#: Byte order marks of UTF-8 and UTF-16.
BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", *_UTF16)


def read_text(path: Path) -> str:
    r"""Read a text file: UTF-8, or UTF-16 if it begins with such a byte order mark.

    Args:
        path: The file.

    Returns:
        Its text, without the mark and with `\n` at the end of lines.

    Raises:
        OSError: The file cannot be read.
        UnicodeDecodeError: The file is no text.
    """
    data = path.read_bytes()
    text = data.decode("utf-16" if data.startswith(_UTF16) else "utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def split_lines(text: str) -> list[str]:
    r"""Split a text at `\n` only; other separators, such as U+2028, are characters of a prompt.

    Args:
        text: The text.

    Returns:
        Its lines; a final `\n` starts no further one.
    """
    return text.removesuffix("\n").split("\n")
