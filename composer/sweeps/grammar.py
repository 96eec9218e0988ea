"""What was typed → the jobs of a sweep, each a tuple of overrides. Hydra's grammar, and what it can't say: zips, job
files, filters.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from composer.config.hydra_loader import Loader, hydra_1_3
from composer.errors import ComposerError, suggest
from composer.sweeps.job_files import read_rows
from composer.sweeps.spec import SweepSpec
from composer.sweeps.where import Condition

#: A job's share of one axis: overrides, and what they set by key. Zipped axes and job files set several keys at once.
AxisValue = tuple["JobSetting", ...]


@dataclass(frozen=True)
class JobSetting:
    """One override. key: as it is typed without its prefix. value: the Python value that Hydra makes of it."""

    text: str
    key: str
    value: Any


@dataclass(frozen=True)
class Job:
    """One run of a sweep. number: in the order that was asked for. axes: what tells it from the others, by key."""

    number: int
    settings: tuple[JobSetting, ...]
    axes: tuple[str, ...]

    @property
    def overrides(self) -> tuple[str, ...]:
        return tuple(setting.text for setting in self.settings)

    @cached_property
    def values(self) -> dict[str, str]:
        """Swept key → value as text."""
        return {setting.key: shown(setting.value) for setting in self.settings if setting.key in self.axes}

    @cached_property
    def key(self) -> str:
        """A sum over what was asked, whatever the order of words; what it comes to is known once it is composed."""
        words = sorted(setting.text.lstrip("+") for setting in self.settings)
        return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]


class Grammar:
    """Parses overrides; `loader` knows the groups that `glob` looks into."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.parser = OverridesParser.create(config_loader=loader)
        self.known: dict[str, Override] = {}

    def parse(self, text: str) -> Override:
        if text not in self.known:
            with hydra_1_3():
                (self.known[text],) = self.parser.parse_overrides([text])
        return self.known[text]

    def setting(self, text: str) -> JobSetting:
        override = self.parse(text)
        return JobSetting(text, override.key_or_group, override.value())

    def axes(self, overrides: Sequence[str]) -> dict[str, list[AxisValue]]:
        """Key → its choices; a key given twice is what was given last, as in Hydra."""
        found: dict[str, list[AxisValue]] = {}
        for text in overrides:
            override = self.parse(text)
            if override.is_sweep_override() and not override.is_discrete_sweep():
                reason = "an interval has no steps to sweep over: use range(…), or hydra/sweeper=optuna"
                raise ComposerError(override.key_or_group, None, reason)
            key = override.get_key_element()
            texts = (
                [f"{key}={value}" for value in override.sweep_string_iterator()]
                if override.is_sweep_override()
                else [text]
            )
            found.pop(override.key_or_group, None)
            found[override.key_or_group] = [(self.setting(each),) for each in texts]
        return found


def jobs(grammar: Grammar, overrides: Sequence[str], spec: SweepSpec, known: Mapping[str, Any]) -> Iterator[Job]:
    """All jobs in their order, made one by one.

    Args:
        overrides: without those of `sweep` and `sheet`.
        known: values by dotted key where the overrides don't tell, for `sweep.where`.

    Raises:
        ComposerError: axes that can't be zipped, a jobs file that can't be read, a condition that can't be understood.
    """
    axes = grammar.axes(overrides)
    swept = [
        key
        for key, choices in axes.items()
        if len(choices) > 1 or grammar.parse(choices[0][0].text).is_sweep_override()
    ]
    columns = zipped(list(axes.values()), axes, spec.zip)
    if spec.jobs is not None:
        rows = read_jobs(grammar, spec.jobs)
        columns.append(rows)
        swept += [key for key in dict.fromkeys(setting.key for row in rows for setting in row) if key not in swept]
    points = (
        Job(0, tuple(itertools.chain.from_iterable(point)), tuple(swept)) for point in itertools.product(*columns)
    )
    if spec.where is not None:
        condition = Condition(spec.where)
        points = (
            job for job in points if condition({**known, **{setting.key: setting.value for setting in job.settings}})
        )
    if spec.shuffle is not None:
        points = iter(shuffled(list(points), spec.shuffle))
    return (replace(job, number=i) for i, job in enumerate(itertools.islice(points, spec.limit)))


def zipped(
    columns: list[list[AxisValue]], axes: Mapping[str, list[AxisValue]], groups: Sequence[Any]
) -> list[list[AxisValue]]:
    """Join axes that advance together: `[a,b]` is one such group, `[[a,b],[c,d]]` are two."""
    for group in [groups] if groups and all(isinstance(key, str) for key in groups) else groups:
        for key in group:
            if key not in axes:
                raise ComposerError(
                    "sweep.zip", key, f"is not among what this sweep sets.{suggest(str(key), axes)}", axes
                )
        sizes = {key: len(axes[key]) for key in group}
        if len(set(sizes.values())) != 1:
            counts = ", ".join(f"{key} has {count}" for key, count in sizes.items())
            raise ComposerError(
                "sweep.zip", f"[{','.join(group)}]", f"axes that advance together must have as many values: {counts}"
            )
        members = [axes[key] for key in group]
        joined = [tuple(itertools.chain.from_iterable(each)) for each in zip(*members)]
        first = next(i for i, column in enumerate(columns) if column in members)
        columns = [
            joined if i == first else column for i, column in enumerate(columns) if i == first or column not in members
        ]
    return columns


def shuffled(points: list[Job], seed: int) -> list[Job]:
    random.Random(seed).shuffle(points)
    return points


def read_jobs(grammar: Grammar, name: str) -> list[AxisValue]:
    """One row a job, of a file."""
    return [tuple(_setting(grammar, name, i, text) for text in row) for i, row in enumerate(read_rows(name))]


def _setting(grammar: Grammar, name: str, row: int, text: str) -> JobSetting:
    setting = grammar.setting(text)
    if setting.key.split(".")[0] in ("hydra", "sweep", "sheet") or setting.key == "model.allow_pickle":
        raise ComposerError("sweep.jobs", name, f"row {row + 1} sets {setting.key}, which is not for a job to choose")
    if grammar.parse(text).is_sweep_override():
        raise ComposerError(
            "sweep.jobs", name, f"row {row + 1} gives several values to {setting.key}: a row is one job"
        )
    return setting


def shown(value: Any) -> str:
    """A value as a label."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, (list, tuple)):
        return ", ".join(map(shown, value))
    return str(value)
