"""Every text file that users bring is read by one reader, whatever editor wrote it."""

from __future__ import annotations

from pathlib import Path

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
#: What editors put before a text to tell its encoding.
MARKS = (b"\xef\xbb\xbf", *_UTF16)


def read_text(path: Path) -> str:
    r"""A file's text: UTF-8, or UTF-16 where a byte order mark says so; without that mark, and with `\n` at the end of
    lines.

    Raises:
        OSError: it can't be read.
        UnicodeDecodeError: it is no text.
    """
    data = path.read_bytes()
    text = data.decode("utf-16" if data.startswith(_UTF16) else "utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def lines(text: str) -> list[str]:
    r"""Those that `\n` ends; other marks, such as U+2028, are letters of a prompt."""
    return text.removesuffix("\n").split("\n")
