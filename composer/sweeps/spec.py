"""How a multirun goes about its jobs, how its sheet is laid out, where it runs, and what a search looks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """How a multirun goes about its jobs; what they are is said by the other keys.

    name: of its folder under outputs/sweeps, None for one made of what was asked. zip: keys that advance together.
    jobs: a file
    with one job a row. where: a condition that jobs must meet. limit: only so many. shuffle: a seed for another order.
    on_invalid: error or skip, for jobs that can't work. batch: most jobs to a batch, or auto. fresh: begin anew.
    fail_fast: end at
    the first failure. retries: times that a failed job is tried again. dry_run: only say what would run.
    """

    name: str | None = None
    zip: tuple[Any, ...] = ()
    jobs: str | None = None
    where: str | None = None
    limit: int | None = None
    shuffle: int | None = None
    on_invalid: str = "error"
    batch: int | str = "auto"
    fresh: bool = False
    fail_fast: bool = False
    retries: int = 0
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class SheetSpec:
    """Axes of a sweep's sheet by swept key; None is chosen automatically."""

    x: str | None = None
    y: str | None = None
    page: str | None = None


@dataclass(frozen=True, kw_only=True)
class RaySpec:
    """Where a sweep runs with hydra/launcher=ray. address: of a cluster, None for this machine. workers: None for one a
    GPU, else one
    for each num_cpus cores."""

    address: str | None = None
    workers: int | None = None
    num_cpus: float = 1


@dataclass(frozen=True, kw_only=True)
class SearchSpec:
    """What hydra/sweeper=optuna looks for.

    metric: what is to be least. trials: different settings to try. reference: an image file, or overrides in one
    string, None for
    none. within: largest distance to it, the mean difference of RGB values 0–255. seed: of the sampler. timeout:
    seconds after
    which no trial is begun.
    """

    metric: str = "seconds"
    trials: int = 30
    reference: str | None = None
    within: float | None = None
    seed: int = 0
    timeout: float | None = None
