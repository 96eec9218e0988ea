"""A sweep that went on after an upgrade: its pictures were made by several versions, which have a say in their pixels."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from composer.sweeps.ledger import Row
from composer.version import __version__


def upgraded(rows: Sequence[Row], briefs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A note for each library of which done jobs were drawn by another version than what is installed now."""
    found: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        for name, old in briefs[row.id]["versions"].items() if row.state == "done" else ():
            found.setdefault((name, str(old)), set()).add(str(row.id))
    for (name, old), jobs in found.items():
        now = installed(name)
        if old not in ("unknown", "None", now):
            yield f"{len(jobs)} of the jobs that are done were drawn by {name} {old}; this is {now}. sweep.fresh=true draws all anew"


def installed(name: str) -> str:
    """What a record would say of a library now, without importing it."""
    if name in ("composer", "python"):
        return __version__ if name == "composer" else platform.python_version()
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
