"""`compose cache ls` and `clear`."""

from __future__ import annotations

from datetime import datetime

from composer import speak
from composer.errors import ComposerError
from composer.line import Line


def run(line: Line) -> int:
    """compose cache ls|clear"""
    from composer import cache

    if line.overrides == ["clear"]:
        freed = cache.clear()
        speak.facts({"freed": freed, "folder": cache.root()}, f"freed {freed / 2**20:,.0f} MiB in {cache.root()}")
        return 0
    if line.overrides != ["ls"]:
        raise ComposerError("cache", " ".join(line.overrides) or None, "say `compose cache ls` or `compose cache clear`")
    there = cache.entries()
    used, most = sum(entry.size for entry in there), cache.limit()
    lines = [
        f"{entry.size / 2**20:9,.0f} MiB  {datetime.fromtimestamp(entry.used):%Y-%m-%d %H:%M}  {entry.kind:10} {entry.key}"
        for entry in there
    ]
    lines.append(f"{used / 2**30:.2f} GiB of at most {most / 2**30:g} (COMPOSER_CACHE_GIB) in {cache.root()} (COMPOSER_CACHE)")
    entries = [{"key": entry.key, "kind": entry.kind, "bytes": entry.size, "used": entry.used} for entry in there]
    speak.facts({"entries": entries, "bytes": used, "limit": most, "folder": cache.root()}, "\n".join(lines))
    return 0
