"""Optuna's study of a search: its journal in the folder, and which point to try next."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from composer.sweeps.search.metrics import Objective
from composer.sweeps.search.space import Point, Space
from composer.sweeps.spec import SearchSpec
from composer.system.files import write_atomically

#: Optuna's journal in the folder of a search.
STUDY_FILE = "optuna.jsonl"
#: How often in a row Optuna may suggest known points before it is given a new one near its suggestion.
MAX_REPEATS = 3


class Study:
    """Optuna's study with each point tried once.

    Args:
        folder: Folder of the search; the caller holds its lock.
        stamp: Hash of what earlier trials must have in common with this search; others are ignored.
        space: The search space.
        spec: Settings of the search.
        objectives: What is to be best.

    Attributes:
        known: The first trial of each point, failed ones too.
    """

    def __init__(
        self, folder: Path, stamp: str, space: Space, spec: SearchSpec, objectives: Sequence[Objective]
    ) -> None:
        self.space, self.spec, self.objectives = space, spec, objectives
        self.study = open_study(folder / STUDY_FILE, stamp, objectives)
        self.known: dict[Point, FrozenTrial] = {}
        self._finished_trials = 0  # with those of known points
        for trial in self.study.trials:
            self._restore(trial)

    def _restore(self, trial: FrozenTrial) -> None:
        """Take over a trial of an earlier process; an interrupted one is tried next."""
        interrupted = trial.state == TrialState.RUNNING
        if interrupted:
            self.study.tell(trial.number, state=TrialState.FAIL)
        if trial.state == TrialState.COMPLETE or "reason" in trial.user_attrs:
            self.known.setdefault(self.space.point(trial.params), trial)
            self._finished_trials += 1
        elif interrupted and set(trial.params) == set(self.space.distributions):
            self.study.enqueue_trial(trial.params)

    def next(self) -> tuple[Trial, Point]:
        """Ask Optuna for a point that was not tried. Suggestions that were tried are answered from `known`.

        Returns:
            Optuna's trial, and its point.
        """
        trial, point = self._ask()
        for _ in range(MAX_REPEATS):
            if point not in self.known:
                return trial, point
            self._repeat(trial, self.known[point])
            trial, point = self._ask()
        while point in self.known:
            self._repeat(trial, self.known[point])
            self.study.enqueue_trial(self.space.sample_untried(trial.params, self.known, self._random()))
            trial, point = self._ask()
        return trial, point

    def record(self, trial: Trial, point: Point, attributes: Mapping[str, Any], succeeded: bool = True) -> None:
        """Report the outcome of a trial to Optuna.

        Args:
            trial: Optuna's trial.
            point: Its point.
            attributes: The measured metrics, or the ``reason`` of a failure; they are stored with the trial.
            succeeded: Whether the trial was measured.
        """
        for key, value in attributes.items():
            trial.set_user_attr(key, value)
        self.known[point] = self._report(trial, attributes if succeeded else None)

    def _ask(self) -> tuple[Trial, Point]:
        # a new seed per trial, so that an interrupted search continues as it would have gone on
        self.study.sampler = optuna.samplers.TPESampler(seed=self._random().getrandbits(32))
        trial = self.study.ask(self.space.distributions)
        return trial, self.space.point(trial.params)

    def _random(self) -> Random:
        return Random(f"{self.spec.seed} {self._finished_trials}")

    def _repeat(self, trial: Trial, first: FrozenTrial) -> None:
        """Finish a trial of a known point with the outcome of the first one."""
        if "reason" in first.user_attrs:
            trial.set_user_attr("reason", first.user_attrs["reason"])
        self._report(trial, None if "reason" in first.user_attrs else first.user_attrs)

    def _report(self, trial: Trial, measured: Mapping[str, Any] | None) -> FrozenTrial:
        """Report the metrics of a trial, or None for a failure."""
        self._finished_trials += 1
        if measured is None:
            return self.study.tell(trial, state=TrialState.FAIL)
        if self.spec.within is not None:
            trial.set_constraint("within", measured["distance"] - self.spec.within)
        return self.study.tell(trial, [objective.value(measured) for objective in self.objectives])


def open_study(file: Path, name: str, objectives: Sequence[Objective]) -> optuna.Study:
    """Open Optuna's study, with the trials of earlier processes.

    Args:
        file: Optuna's journal.
        name: Name of the study in it.
        objectives: What is to be best.

    Returns:
        The study.
    """
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    remove_torn_line(file)
    lock: Any = NoLock()  # Optuna's base class of locks is private
    storage = JournalStorage(JournalFileBackend(str(file), lock_obj=lock))
    directions = [
        StudyDirection.MAXIMIZE if objective.higher_is_better else StudyDirection.MINIMIZE for objective in objectives
    ]
    return optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)


def remove_torn_line(file: Path) -> None:
    """Cut off an incomplete last line, after which Optuna could not read any other.

    Args:
        file: Optuna's journal; it need not exist.
    """
    if file.exists() and not (text := file.read_bytes()).endswith(b"\n"):
        write_atomically(file, text[: text.rfind(b"\n") + 1])


class NoLock:
    """Replacement of Optuna's lock, which a killed process leaves behind. The folder's own lock is held anyway."""

    def acquire(self) -> bool:
        """Do nothing.

        Returns:
            True.
        """
        return True

    def release(self) -> None:
        """Do nothing."""
