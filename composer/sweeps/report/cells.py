"""What a sweep's sheet is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One job.

    Attributes:
        number: of the job, from 0; None for one of an earlier request.
        folder: relative to the sweep's folder.
        state: one of `composer.sweeps.ledger.STATES`.
        values: swept key → value as text, in the order of the axes.
        images: file names in `folder`.
        peak_memory: bytes.
        composer: the version that drew it.
        sums: of the files of its images.
    """

    number: int | None
    folder: str
    state: str
    values: Mapping[str, str]
    images: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    seconds: float | None = None
    peak_memory: int | None = None
    steps: int | None = None
    scheduler: str | None = None
    error: str | None = None
    prompt: str | None = None
    composer: str | None = None
    sums: tuple[str, ...] = ()


@dataclass(frozen=True)
class Block:
    """One grid: `rows` are (value of y, for each column the cells that belong there)."""

    value: str | None
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[Cell, ...], ...]], ...]
