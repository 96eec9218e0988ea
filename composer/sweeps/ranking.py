"""Order of jobs by what was measured of them, the best first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

#: What is measured of every job; less of it is better.
ALWAYS = ("seconds", "peak_memory")
#: Metric → value of a job, None without one, and whether higher is better.
Values = Mapping[str, tuple[float | None, bool]]


def rank(name: str, values: Values, seconds: float | None, peak_memory: float | None) -> tuple[bool, float]:
    """Return a key that sorts jobs, the best first, and those without a value last.

    Args:
        name: A metric, or one of `ALWAYS`.
        values: Metrics of the job.
        seconds: Its duration.
        peak_memory: Its peak memory in bytes.

    Returns:
        A key for `sorted`.
    """
    value, higher = {"seconds": (seconds, False), "peak_memory": (peak_memory, False), **values}.get(name, (None, True))
    return value is None, (-value if higher else value) if value is not None else 0.0


def best_values(jobs: Iterable[Values]) -> dict[str, float]:
    """Find the best value of each metric.

    Args:
        jobs: Metrics of each job.

    Returns:
        Metric → its best value; without metrics that only one job has, or that differ in no job.
    """
    known: dict[str, list[float]] = {}
    higher: dict[str, bool] = {}
    for name, (value, is_higher) in (item for values in jobs for item in values.items()):
        higher[name] = is_higher
        known.setdefault(name, []).extend([] if value is None else [value])
    return {name: (max if higher[name] else min)(of) for name, of in known.items() if len(set(of)) > 1}


def format_value(value: float) -> str:
    """Format the value of a metric.

    Args:
        value: A finite number.

    Returns:
        Four significant digits.
    """
    return f"{value:.4g}"
