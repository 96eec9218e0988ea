"""Report of a running sweep, rewritten at most every few seconds."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from composer.sweeps.ledger import Ledger, Row
from composer.sweeps.report.cells import Cell
from composer.sweeps.report.sheet import write_sheet
from composer.sweeps.spec import SheetSpec

#: Minimum of seconds between two writes.
WRITE_INTERVAL = 2.0
#: Writing takes at most one part in this many of the time of a sweep.
MAX_WRITE_RATIO = 50


class LiveReport:
    """The pages and tables of a sweep, written from its ledger. A file is rewritten only if its content changes.

    Args:
        folder: Folder of the sweep.
        title: Title of the page.
        ledger: Rows of the folder.
        spec: Axes of the sheet.
    """

    def __init__(self, folder: Path, title: str, ledger: Ledger, spec: SheetSpec) -> None:
        self.folder, self.title, self.ledger, self.spec = folder, title, ledger, spec
        self.written_at = 0.0

    def write(self, finished: bool, now: bool = False) -> None:
        """Write the files, unless they were written a moment ago.

        Args:
            finished: Whether the sweep has ended; contact.png is written only then.
            now: Whether to write in any case.
        """
        started_at = time.monotonic()
        if started_at - self.written_at < WRITE_INTERVAL and not now:
            return
        write_sheet(self.folder, self.title, [self._cell(row) for row in self.ledger.rows()], self.spec, finished)
        seconds = time.monotonic() - started_at
        delay = MAX_WRITE_RATIO * seconds - WRITE_INTERVAL if seconds > WRITE_INTERVAL / MAX_WRITE_RATIO else 0
        self.written_at = time.monotonic() + delay

    def _cell(self, row: Row) -> Cell:
        cell = Cell(
            number=row.number,
            folder=row.subfolder,
            state=row.state,
            values=row.values,
            error=row.reason,
            prompt=row.prompt,
        )
        if not row.subfolder or row.id is None:
            return cell
        brief = self.ledger.journal.briefs[row.id]
        details = {name: value for name, value in brief.items() if name not in ("values", "versions")}
        return replace(cell, **details, composer=brief["versions"]["composer"])
