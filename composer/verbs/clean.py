"""`compose clean`."""

from __future__ import annotations

from composer import speak
from composer.line import Line


def run(line: Line) -> int:
    """compose clean [DIR] [older=DAYS] [dry_run=false]"""
    from composer.clean import clean, told

    folders, gone = clean(line.overrides)
    found = [{"path": str(folder.path), "size": folder.size, "sweep": folder.sweep} for folder in folders]
    speak.facts({"removed": gone, "folders": found}, told(folders, gone))
    return 0
