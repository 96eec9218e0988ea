"""Comparison of the files that two sweeps of the same jobs derive from their records, without what was measured."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from PIL import Image

#: Columns of results.csv that no two runs have in common.
MEASURED = ("seconds", "peak_memory")
#: Durations and amounts of memory in a page, and the curve that is generated of them.
_MEASURED = re.compile(
    r'(?<=<td class="right") data-v="[\d.]*">[\d.]*|[\d.,]+(?:</b>)? (?:s|min|h|[KMG]iB)\b|<svg.*?</svg>', re.DOTALL
)


def differences(one: Path, other: Path) -> dict[str, int]:
    """Compare the derived files of two folders; a missing file counts as different.

    Args:
        one: Folder of a sweep.
        other: Folder of another sweep of the same jobs.

    Returns:
        Number of different pages, tables and contact sheets, each 0 or 1.
    """
    return {
        "pages": int(page(one) != page(other) or page(one) is None),
        "tables": int(table(one) != table(other) or table(one) is None),
        "contact sheets": int(contact(one) != contact(other) or contact(one) is None),
    }


def page(folder: Path) -> str | None:
    """Read a sheet without measured numbers.

    Args:
        folder: Folder of a sweep.

    Returns:
        Text of index.html, or `None` if there is none.
    """
    file = folder / "index.html"
    return _MEASURED.sub("", file.read_text("utf-8")) if file.exists() else None


def table(folder: Path) -> list[dict[str, str]] | None:
    """Read a table without measured columns.

    Args:
        folder: Folder of a sweep.

    Returns:
        Rows of results.csv as column → text, or `None` if there is none.
    """
    file = folder / "results.csv"
    if not file.exists():
        return None
    with file.open(newline="", encoding="utf-8") as text:
        return [{key: value for key, value in row.items() if key not in MEASURED} for row in csv.DictReader(text)]


def contact(folder: Path) -> bytes | None:
    """Read a contact sheet.

    Args:
        folder: Folder of a sweep.

    Returns:
        Pixels of contact.png, or `None` if there is none.
    """
    file = folder / "contact.png"
    return Image.open(file).tobytes() if file.exists() else None
