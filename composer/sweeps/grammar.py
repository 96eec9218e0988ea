"""Overrides of a multirun to jobs: Hydra's override grammar, extended by zipped axes, job files and filters."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Transformer, ValueType

from composer.config.adapter_nodes import typed_key
from composer.config.hydra_loader import Loader, hydra_1_3
from composer.errors import ComposerError, suggest
from composer.sweeps.job_files import read_rows
from composer.sweeps.spec import SweepSpec
from composer.sweeps.where import Condition

#: One value of an axis: the overrides that it sets. Zipped axes and job files set several keys at once.
AxisValue = tuple["JobSetting", ...]
#: First parts of keys that a job file must not set.
RESERVED_ROOTS = ("hydra", "sweep", "sheet")


@dataclass(frozen=True)
class JobSetting:
    """One parsed override.

    Attributes:
        text: The override in Hydra's grammar, such as ``"++callbacks.preview.every=2"``.
        key: Its key without the prefix ``+`` or ``++``.
        value: The Python value that Hydra parses from it.
    """

    text: str
    key: str
    value: Any

    @property
    def typed_key(self) -> str:
        """The key as it is typed: ``lora`` for ``lora.file``."""
        return typed_key(self.key)


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        number: Position among the jobs of the sweep, from 0.
        settings: All overrides of the job.
        axes: Swept keys, by which jobs differ.
    """

    number: int
    settings: tuple[JobSetting, ...]
    axes: tuple[str, ...]

    @property
    def overrides(self) -> tuple[str, ...]:
        """All overrides of the job as text."""
        return tuple(setting.text for setting in self.settings)

    @cached_property
    def values(self) -> dict[str, str]:
        """Value of each swept key as text."""
        return {
            setting.typed_key: format_value(setting.value)
            for setting in self.settings
            if setting.typed_key in self.axes
        }

    @cached_property
    def key(self) -> str:
        """Hash of the overrides, whatever their order; 16 hexadecimal digits.

        Known before the config is composed, unlike the job's id.
        """
        words = sorted(setting.text.lstrip("+") for setting in self.settings)
        return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]


class Grammar:
    """Parser of overrides that keeps what it has parsed.

    Args:
        loader: Loader that knows the config groups; ``glob(…)`` is resolved against them.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.parser = OverridesParser.create(config_loader=loader)
        self._parsed: dict[str, Override] = {}
        self._groups: dict[str, bool] = {}

    def parse(self, text: str) -> Override:
        """Parse one override.

        Args:
            text: Override in Hydra's grammar.

        Returns:
            Hydra's parse result.

        Raises:
            HydraException: The text is no override.
        """
        if text not in self._parsed:
            with hydra_1_3():
                (self._parsed[text],) = self.parser.parse_overrides([text])
        return self._parsed[text]

    def is_group(self, key: str) -> bool:
        """Test whether a key names a config group, such as ``scheduler``.

        Args:
            key: Key without a prefix.

        Returns:
            Whether option files of that group exist.
        """
        if key not in self._groups:  # Hydra lists directories for it
            self._groups[key] = "." not in key and self.loader.repository.group_exists(key)
        return self._groups[key]

    def setting(self, text: str) -> JobSetting:
        """Parse one override that has a single value.

        Args:
            text: Override in Hydra's grammar.

        Returns:
            The override with its key and value.
        """
        override = self.parse(text)
        return JobSetting(text, override.key_or_group, override.value())

    def axes(self, overrides: Sequence[str]) -> dict[str, list[AxisValue]]:
        """Read the axes of a sweep; an override without several values is an axis of length 1.

        Args:
            overrides: Overrides in their order. The last one of a key counts, as in Hydra.

        Returns:
            Values of each axis by its key.

        Raises:
            ComposerError: An override gives an interval, which has no discrete values.
        """
        axes: dict[str, list[AxisValue]] = {}
        for text in overrides:
            override = self.parse(text)
            if override.is_sweep_override() and not override.is_discrete_sweep():
                reason = "an interval has no steps to sweep over: use range(…), or hydra/sweeper=optuna"
                raise ComposerError(override.key_or_group, None, reason)
            key = typed_key(override.key_or_group)
            axes.pop(key, None)
            axes[key] = [(self.setting(value),) for value in self._single_overrides(text, override)]
        return axes

    def _single_overrides(self, text: str, override: Override) -> list[str]:
        """Expand an override with several values to one override per value; integers need not be parsed again."""
        if not override.is_sweep_override():
            return [text]
        values = list(override.sweep_iterator(transformer=Transformer.identity))
        if not all(type(value) is int for value in values):
            return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
        texts = [f"{override.get_key_element()}={value}" for value in values]
        for single, value in zip(texts, values):
            self._parsed.setdefault(
                single, replace(override, value_type=ValueType.ELEMENT, _value=value, input_line=single)
            )
        return texts


def iter_jobs(grammar: Grammar, overrides: Sequence[str], spec: SweepSpec, known: Mapping[str, Any]) -> Iterator[Job]:
    """Iterate over the jobs of a sweep in the order in which they run.

    Args:
        grammar: Parser of the overrides.
        overrides: Overrides that make the jobs, without those of ``sweep``, ``sheet`` and ``hydra``.
        spec: Settings of the sweep.
        known: Config values by dotted key for ``sweep.where``; the overrides of a job take precedence.

    Returns:
        Jobs, numbered from 0. They are made one by one unless ``spec.shuffle`` is set.

    Raises:
        ComposerError: Axes cannot be zipped, the job file cannot be read, or the condition cannot be parsed.
    """
    axes = grammar.axes(overrides)
    swept = [key for key, values in axes.items() if _is_swept(grammar, values)]
    columns = zip_axes(list(axes.values()), axes, spec.zip)
    if spec.jobs is not None:
        rows = read_job_rows(grammar, spec.jobs)
        columns.append(rows)
        swept += [
            key for key in dict.fromkeys(setting.typed_key for row in rows for setting in row) if key not in swept
        ]
    points: Iterator[Job] = (
        Job(0, tuple(itertools.chain.from_iterable(point)), tuple(swept)) for point in itertools.product(*columns)
    )
    if spec.where is not None:
        points = _matching(points, Condition(spec.where), known)
    if spec.shuffle is not None:
        points = iter(shuffle_jobs(list(points), spec.shuffle))
    return (replace(job, number=i) for i, job in enumerate(itertools.islice(points, spec.limit)))


def _is_swept(grammar: Grammar, values: Sequence[AxisValue]) -> bool:
    """Whether an axis was given as a sweep, even one over a single value."""
    return len(values) > 1 or grammar.parse(values[0][0].text).is_sweep_override()


def _matching(jobs: Iterator[Job], condition: Condition, known: Mapping[str, Any]) -> Iterator[Job]:
    """Jobs that meet a condition."""
    for job in jobs:
        if condition({**known, **{setting.typed_key: setting.value for setting in job.settings}}):
            yield job


def zip_axes(
    columns: list[list[AxisValue]], axes: Mapping[str, list[AxisValue]], groups: Sequence[Any]
) -> list[list[AxisValue]]:
    """Join axes that advance together into one column.

    Args:
        columns: Axes of the sweep in their order.
        axes: The same axes by key.
        groups: ``("a", "b")`` is one group of keys, ``(["a", "b"], ["c", "d"])`` are two.

    Returns:
        The columns; a group replaces its first axis.

    Raises:
        ComposerError: A key is not swept, or the axes of a group differ in length.
    """
    for group in [groups] if groups and all(isinstance(key, str) for key in groups) else groups:
        _require_equal_lengths(group, axes)
        members = [axes[key] for key in group]
        zipped = [tuple(itertools.chain.from_iterable(values)) for values in zip(*members)]
        first = next(i for i, column in enumerate(columns) if column in members)
        columns = [
            zipped if i == first else column for i, column in enumerate(columns) if i == first or column not in members
        ]
    return columns


def _require_equal_lengths(group: Sequence[str], axes: Mapping[str, list[AxisValue]]) -> None:
    for key in group:
        if key not in axes:
            reason = f"is not among the keys that this sweep sets.{suggest(str(key), axes)}"
            raise ComposerError("sweep.zip", key, reason, axes)
    lengths = {key: len(axes[key]) for key in group}
    if len(set(lengths.values())) != 1:
        counts = ", ".join(f"{key} has {count}" for key, count in lengths.items())
        reason = f"axes that advance together must have equally many values: {counts}"
        raise ComposerError("sweep.zip", f"[{','.join(group)}]", reason)


def shuffle_jobs(jobs: list[Job], seed: int) -> list[Job]:
    """Shuffle jobs in place.

    Args:
        jobs: Jobs to reorder.
        seed: Seed of the order; the same seed gives the same order.

    Returns:
        The same list.
    """
    random.Random(seed).shuffle(jobs)
    return jobs


def read_job_rows(grammar: Grammar, name: str) -> list[AxisValue]:
    """Read the file of ``sweep.jobs``.

    Args:
        grammar: Parser of the overrides in the file.
        name: Path as typed; ``~`` is expanded.

    Returns:
        Overrides of each row; a row is one job.

    Raises:
        ComposerError: The file cannot be read, or a row sets a reserved key or several values of a key.
    """
    return [tuple(_row_setting(grammar, name, i, text) for text in row) for i, row in enumerate(read_rows(name))]


def _row_setting(grammar: Grammar, name: str, row: int, text: str) -> JobSetting:
    setting = grammar.setting(text)
    if setting.key.split(".")[0] in RESERVED_ROOTS or setting.key == "model.allow_pickle":
        raise ComposerError("sweep.jobs", name, f"row {row + 1} sets {setting.key}, which a job file must not set")
    if grammar.parse(text).is_sweep_override():
        reason = f"row {row + 1} gives several values to {setting.key}: a row is one job"
        raise ComposerError("sweep.jobs", name, reason)
    return setting


def format_value(value: Any) -> str:
    """Format a parsed value as a label.

    Args:
        value: Value as Hydra parses it.

    Returns:
        Text such as ``"true"``, ``"null"`` or ``"1, 2"``.
    """
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, (list, tuple)):
        return ", ".join(map(format_value, value))
    return str(value)
