"""`compose cache ls` and `clear`."""

from __future__ import annotations

from datetime import datetime

from composer.config.command_line import ParsedArgs
from composer.errors import ComposerError
from composer.system import console


def run(line: ParsedArgs) -> int:
    """Run `compose cache ls` or `compose cache clear`.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: Another word follows.
    """
    from composer.loading import disk_cache

    if line.overrides == ["clear"]:
        freed = disk_cache.clear()
        console.report_facts(
            {"freed": freed, "folder": disk_cache.root()}, f"freed {freed / 2**20:,.0f} MiB in {disk_cache.root()}"
        )
        return 0
    if line.overrides != ["ls"]:
        raise ComposerError(
            "cache", " ".join(line.overrides) or None, "say `compose cache ls` or `compose cache clear`"
        )
    stored = disk_cache.entries()
    used, most = sum(entry.size for entry in stored), disk_cache.limit()
    lines = [
        f"{entry.size / 2**20:9,.0f} MiB  {datetime.fromtimestamp(entry.used):%Y-%m-%d %H:%M}  {entry.kind:10} "
        f"{entry.key}"
        for entry in stored
    ]
    lines.append(
        f"{used / 2**30:.2f} GiB of at most {most / 2**30:g} (COMPOSER_CACHE_GIB) in {disk_cache.root()} "
        f"(COMPOSER_CACHE)"
    )
    entries = [{"key": entry.key, "kind": entry.kind, "bytes": entry.size, "used": entry.used} for entry in stored]
    console.report_facts(
        {"entries": entries, "bytes": used, "limit": most, "folder": disk_cache.root()}, "\n".join(lines)
    )
    return 0
