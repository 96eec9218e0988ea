"""Keeps a sweep's sheet up to date while it runs: not more often than is worth it."""

from __future__ import annotations

import time
from pathlib import Path

from composer.sweeps.ledger import Ledger, Row
from composer.sweeps.report.cells import Cell
from composer.sweeps.report.sheet import write_sheet
from composer.sweeps.spec import SheetSpec

#: Seconds between two writings.
EVERY = 2.0


class Pages:
    """The files that are made of a ledger. What they hold decides whether they are written, not whether they are there."""

    def __init__(self, folder: Path, title: str, ledger: Ledger, spec: SheetSpec) -> None:
        self.folder, self.title, self.ledger, self.spec = folder, title, ledger, spec
        self.written = 0.0

    def write(self, finished: bool, now: bool = False) -> None:
        """Write the pages, if it is time."""
        begun = time.monotonic()
        if begun - self.written < EVERY and not now:
            return
        write_sheet(self.folder, self.title, [self._cell(row) for row in self.ledger.rows()], self.spec, finished)
        spent = time.monotonic() - begun
        self.written = time.monotonic() + 20 * spent - EVERY if spent > EVERY / 20 else time.monotonic()

    def _cell(self, row: Row) -> Cell:
        about = {
            "number": row.number,
            "folder": row.place,
            "state": row.state,
            "values": row.values,
            "error": row.reason,
        }
        if not row.place:
            return Cell(prompt=row.prompt, **about)
        found = self.ledger.journal.briefs[row.id]
        return Cell(
            **about,
            **{name: value for name, value in found.items() if name not in ("values", "versions")},
            composer=found["versions"]["composer"],
        )
