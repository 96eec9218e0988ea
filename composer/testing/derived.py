"""What a sweep makes of its jobs' records, held against that of another sweep of the same jobs: all but what was
measured.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from PIL import Image

#: Columns of results.csv that no two runs have in common.
MEASURED = ("seconds", "peak_memory")
#: Durations and amounts of memory in a page, and the curve that is generated of them.
_NUMBERS = re.compile(
    r'(?<=<td class="right") data-v="[\d.]*">[\d.]*|[\d.,]+(?:</b>)? (?:s|min|h|[KMG]iB)\b|<svg.*?</svg>', re.DOTALL
)


def differences(one: Path, other: Path) -> dict[str, int]:
    """How many of the pages, tables and contact sheets of two folders differ; one that is missing differs."""
    return {
        "pages": int(page(one) != page(other) or page(one) is None),
        "tables": int(table(one) != table(other) or table(one) is None),
        "contact sheets": int(contact(one) != contact(other) or contact(one) is None),
    }


def page(folder: Path) -> str | None:
    """index.html without numbers that were measured."""
    file = folder / "index.html"
    return _NUMBERS.sub("", file.read_text("utf-8")) if file.exists() else None


def table(folder: Path) -> list[dict[str, str]] | None:
    """The rows of results.csv without columns that were measured."""
    file = folder / "results.csv"
    if not file.exists():
        return None
    with file.open(newline="", encoding="utf-8") as text:
        return [{key: value for key, value in row.items() if key not in MEASURED} for row in csv.DictReader(text)]


def contact(folder: Path) -> bytes | None:
    """The pixels of contact.png."""
    file = folder / "contact.png"
    return Image.open(file).tobytes() if file.exists() else None
