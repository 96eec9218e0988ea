"""How far a sweep has come."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.errors import printable, shorten
from composer.sweeps.ledger import DROPPED, Ledger, counted
from composer.sweeps.lock import working

if TYPE_CHECKING:
    pass

#: Jobs that are named one by one.
FEW = 20


def pace(briefs: Iterable[Mapping[str, Any]]) -> float | None:
    """Seconds that an image took for each step, on average over the jobs that are done."""
    found = list(briefs)
    steps = sum((brief["steps"] or 0) * len(brief["images"]) for brief in found)
    return sum(brief["seconds"] or 0.0 for brief in found) / steps if steps else None


def status_text(ledger: Ledger) -> str:
    """How far a sweep has come, from its folder alone."""
    folder, rows = ledger.journal.folder, ledger.rows()
    counts = counted(rows)
    total = len(rows) - counts[DROPPED]
    line = f"{folder}: {counts['done']} of {total} done, {counts['failed']} failed, "
    line += f"{counts['running']} under way, {counts['waiting']} waiting"
    line += "".join(f", {counts[state]} {state}" for state in ("invalid", DROPPED) if counts[state])
    if speed := pace(ledger.journal.briefs.values()):
        line += f"; {speed * 1000:.0f} ms an image and step"
    bad = [row for row in rows if row.state in ("failed", "invalid")]
    more = [f"  and {len(bad) - FEW} more"] if len(bad) > FEW else []
    return "\n".join(
        [
            line,
            *(printable(f"  {row.state}: job {row.number} ({told_by(row.values)}): {row.reason}") for row in bad[:FEW]),
            *more,
        ]
    )


def watch(folder: Path) -> None:
    """Show it on a terminal until nobody works on it any more."""
    from composer.system import loading_line

    loading_line.stop()
    from rich.live import Live
    from rich.text import Text

    with Live(Text(status_text(Ledger.read(folder))), refresh_per_second=2) as live:
        while working(folder):
            time.sleep(0.5)
            live.update(Text(status_text(Ledger.read(folder))))
        live.update(Text(status_text(Ledger.read(folder))))


def told_by(values: Mapping[str, str]) -> str:
    """What tells a job from the others, in a line."""
    return " ".join(f"{key}={shorten(value, 40)}" for key, value in values.items())
