"""Keeps a sweep's sheet up to date while it runs: not more often than is worth it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from composer.spec import SheetSpec
from composer.sweep.journal import record_of
from composer.sweep.plan import Entry, Plan
from composer.sweep.sheet import Cell, write_sheet

#: Seconds between two writings.
EVERY = 2.0


class Pages:
    """Cells by job number, and the files made of them."""

    def __init__(self, folder: Path, title: str, plan: Plan, spec: SheetSpec) -> None:
        self.folder, self.title, self.plan, self.spec = folder, title, plan, spec
        self.places: dict[int, tuple[str, Mapping[str, Any]]] = {}
        self.reasons: dict[int, str] = {}
        self.written = 0.0

    def drew(self, entry: Entry, place: str, record: Mapping[str, Any]) -> None:
        self.places[entry.job.number] = place, brief(record)

    def first(self, entry: Entry) -> str:
        """The file of its first picture."""
        return self.places[entry.job.number][1]["images"][0]

    def failed(self, entry: Entry, reason: str) -> None:
        self.reasons[entry.job.number] = reason

    def write(self, finished: bool, always: bool = False) -> None:
        """Write the pages, if it is time or the end; nothing is touched where nothing changed."""
        begun = time.monotonic()
        there = (self.folder / "index.html").exists()
        if (finished and there and not always and not self.reasons) or (not finished and begun - self.written < EVERY and not always):
            return
        cells = [self._cell(entry) for entry in self.plan.entries]
        write_sheet(self.folder, self.title, cells, self.spec, finished)
        spent = time.monotonic() - begun
        self.written = time.monotonic() + 20 * spent - EVERY if spent > EVERY / 20 else time.monotonic()

    def _cell(self, entry: Entry) -> Cell:
        twin = next((first for other, first in self.plan.twins if other is entry), entry)
        state = twin.state if twin.state != "twin" else "waiting"
        if twin.job.number not in self.places and state == "done":
            place = self.plan.journal.done[twin.id]
            self.places[twin.job.number] = place, brief(record_of(self.folder / place))
        place, record = self.places.get(twin.job.number, ("", {}))
        reason = self.reasons.get(twin.job.number) or self.plan.journal.failed.get(str(entry.job.number))
        return Cell(number=entry.job.number, folder=place, state=state, values=entry.job.values, error=reason, **record)


def brief(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a cell shows of a record."""
    images = record.get("images", [])
    suffix = {"jpeg": "jpg"}.get(form := record.get("config", {}).get("output", {}).get("format", "png"), form)
    return {
        "images": tuple(f"{i:03d}.{suffix}" for i in range(len(images))),
        "seeds": tuple(image["seed"] for image in images),
        "seconds": record.get("seconds"),
        "peak_memory": record.get("peak_memory"),
        "steps": record.get("steps"),
        "scheduler": record.get("scheduler", {}).get("class"),
    }
