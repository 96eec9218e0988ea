"""Settings of a multirun: how it runs its jobs, how its sheet is laid out, where it runs, and what a search
minimises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from composer.system.constraints import Ge, Gt


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """Settings of a sweep; the jobs themselves are set by all other keys.

    Attributes:
        name: Name of the sweep's folder under ``outputs/sweeps``; ``None`` derives one from the overrides.
        zip: Keys whose values advance together: one group of keys, or a list of groups.
        jobs: File with one job per row, or ``None``.
        where: Condition that a job must meet to run, or ``None``.
        limit: Maximum number of jobs, >= 1, or ``None`` for all.
        shuffle: Seed of a random job order, >= 0; ``None`` keeps the order of the overrides.
        on_invalid: ``"error"`` or ``"skip"``, for jobs that cannot run.
        batch: Maximum number of jobs in a batch, >= 1, or ``"auto"`` to grow batches while that is faster.
        fresh: Whether to delete earlier results in the folder first.
        fail_fast: Whether to stop at the first failed job.
        retries: How many times a failed job is tried again, >= 0.
        dry_run: Whether to print the plan and generate nothing.
    """

    name: str | None = None
    zip: tuple[Any, ...] = ()
    jobs: str | None = None
    where: str | None = None
    limit: Annotated[int, Ge(1)] | None = None
    shuffle: Annotated[int, Ge(0)] | None = None
    on_invalid: Literal["error", "skip"] = "error"
    batch: Annotated[int, Ge(1)] | Literal["auto"] = "auto"
    fresh: bool = False
    fail_fast: bool = False
    retries: Annotated[int, Ge(0)] = 0
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class SheetSpec:
    """Axes of a sweep's sheet, each a swept key, and the order of jobs; ``None`` leaves the choice to composer.

    Attributes:
        x: Key of the columns.
        y: Key of the rows.
        page: Key whose values get a grid each.
        sort: Metric by which jobs are ordered, the best first, in a gallery without axes; or ``seconds`` or
            ``peak_memory``.
    """

    x: str | None = None
    y: str | None = None
    page: str | None = None
    sort: str | None = None


@dataclass(frozen=True, kw_only=True)
class RaySpec:
    """Settings of ``hydra/launcher=ray``.

    Attributes:
        address: Address of a running cluster; ``None`` starts Ray on this machine.
        workers: Number of workers, >= 1; ``None`` for one per GPU, or without GPUs one per ``num_cpus`` cores.
        num_cpus: CPU cores reserved for a worker, > 0.
    """

    address: str | None = None
    workers: Annotated[int, Ge(1)] | None = None
    num_cpus: Annotated[float, Gt(0)] = 1


@dataclass(frozen=True, kw_only=True)
class SearchSpec:
    """Settings of ``hydra/sweeper=optuna``.

    Attributes:
        metric: What is to be best: ``"seconds"``, ``"peak_memory"`` (bytes), ``"distance"``, a metric of the trials, or
            several of them.
        trials: Number of distinct settings to try, >= 1.
        reference: Image file, or overrides in one string that generate an image, to compare with; or ``None``.
        within: Largest accepted distance from the reference: mean absolute difference of RGB values, in [0, 255].
        seed: Seed of Optuna's sampler, >= 0.
        timeout: Seconds after which no further trial starts, or ``None``.
    """

    metric: str | tuple[str, ...] = "seconds"
    trials: Annotated[int, Ge(1)] = 30
    reference: str | None = None
    within: Annotated[float, Ge(0)] | None = None
    seed: Annotated[int, Ge(0)] = 0
    timeout: Annotated[float, Ge(0)] | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of all that is to be best."""
        return (self.metric,) if isinstance(self.metric, str) else tuple(self.metric)
