"""Status of a sweep, read from its folder."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from composer.errors import printable, shorten
from composer.sweeps.ledger import DROPPED, Ledger, Row, count_states
from composer.sweeps.lock import is_locked
from composer.sweeps.ranking import best_values, format_value

#: Failed and invalid jobs beyond this number are only counted.
MAX_LISTED_JOBS = 20


def seconds_per_step(briefs: Iterable[Mapping[str, Any]]) -> float | None:
    """Average the time of finished jobs.

    Args:
        briefs: Parts of the records; see `brief`.

    Returns:
        Seconds per image and step; ``None`` if no job is done.
    """
    done = list(briefs)
    steps = sum((brief["steps"] or 0) * len(brief["images"]) for brief in done)
    return sum(brief["seconds"] or 0.0 for brief in done) / steps if steps else None


def status_text(ledger: Ledger) -> str:
    """Format the status of a sweep.

    Args:
        ledger: Rows of its folder.

    Returns:
        A line with the counts, one for the best job by each metric, then one for each failed or invalid job.
    """
    folder, rows = ledger.journal.folder, ledger.rows()
    counts = count_states(rows)
    total = len(rows) - counts[DROPPED]
    line = f"{folder}: {counts['done']} of {total} done, {counts['failed']} failed, "
    line += f"{counts['running']} under way, {counts['waiting']} waiting"
    line += "".join(f", {counts[state]} {state}" for state in ("invalid", DROPPED) if counts[state])
    if speed := seconds_per_step(ledger.journal.briefs.values()):
        line += f"; {speed * 1000:.0f} ms an image and step"
    problems = [row for row in rows if row.state in ("failed", "invalid")]
    listed = [
        printable(f"  {row.state}: job {row.number} ({label_values(row.values)}): {row.reason}")
        for row in problems[:MAX_LISTED_JOBS]
    ]
    more = [f"  and {len(problems) - MAX_LISTED_JOBS} more"] if len(problems) > MAX_LISTED_JOBS else []
    return "\n".join([line, *best_lines(rows, ledger.journal.briefs), *listed, *more])


def best_lines(rows: Sequence[Row], briefs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Format the best job by each metric.

    Args:
        rows: Rows of a ledger.
        briefs: Parts of the records by job id; see `brief`.

    Returns:
        A line for each metric.
    """
    done = [(row, briefs[row.id]["metrics"]) for row in rows if row.number is not None and row.id and row.id in briefs]
    lines = []
    for name, value in best_values(metrics for _, metrics in done).items():
        row = next(row for row, metrics in done if name in metrics and metrics[name][0] == value)
        lines.append(f"best {name}: {format_value(value)}  job {row.number}  {label_values(row.values)}".rstrip())
    return lines


def watch(folder: Path) -> None:
    """Show the status on a terminal while a process works in the folder.

    Args:
        folder: Folder of the sweep.

    Raises:
        ComposerError: It is no sweep's folder.
    """
    from composer.system import loading_line

    loading_line.stop()
    from rich.live import Live
    from rich.text import Text

    with Live(Text(status_text(Ledger.read(folder))), refresh_per_second=2) as live:
        while is_locked(folder):
            time.sleep(0.5)
            live.update(Text(status_text(Ledger.read(folder))))
        live.update(Text(status_text(Ledger.read(folder))))


def label_values(values: Mapping[str, str]) -> str:
    """Format the values by which a job differs from others.

    Args:
        values: Value of each swept key as text.

    Returns:
        One line; empty for a job without swept keys.
    """
    return " ".join(f"{key}={shorten(value, 40)}" for key, value in values.items())
