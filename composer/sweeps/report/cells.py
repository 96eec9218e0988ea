"""Cells and grids of a sweep's sheet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One job of a sheet.

    Attributes:
        number: Number of the job, from 0; ``None`` for a job of an earlier request.
        folder: Its subfolder, relative to the sweep's folder; empty if it is not done.
        state: One of `composer.sweeps.ledger.STATES`.
        values: Value of each swept key as text, in the order of the axes.
        images: File names in ``folder``, of clips and sounds too.
        posters: Files in ``folder`` of the images that are shown for clips and sounds; empty for images.
        seeds: Seed of each image.
        seconds: Seconds of the run, without loading.
        peak_memory: Peak memory in bytes.
        steps: Number of denoising steps.
        scheduler: Class name of the scheduler.
        error: Reason of a failure, or ``None``.
        prompt: The prompt.
        composer: Version of composer that generated it.
        metrics: Metric → the mean of its values, None without one, and whether higher is better.
        hashes: SHA-256 of each file in ``shown``.
    """

    number: int | None
    folder: str
    state: str
    values: Mapping[str, str]
    images: tuple[str, ...] = ()
    posters: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    seconds: float | None = None
    peak_memory: int | None = None
    steps: int | None = None
    scheduler: str | None = None
    error: str | None = None
    prompt: str | None = None
    composer: str | None = None
    metrics: Mapping[str, tuple[float | None, bool]] = field(default_factory=dict)
    hashes: tuple[str, ...] = ()

    @property
    def shown(self) -> tuple[str, ...]:
        """Files of the images that are shown for the job, in ``folder``."""
        return self.posters or self.images


@dataclass(frozen=True)
class Block:
    """One grid of a sheet.

    Attributes:
        value: Value of the page axis; ``None`` without one.
        columns: Values of the x axis.
        rows: Pairs of a value of the y axis and, for each column, its cells.
    """

    value: str | None
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[Cell, ...], ...]], ...]
