"""The order of jobs and their batches: jobs of one model run together, jobs that differ in prompt or seed as a
batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from composer.checks.compatibility import Checked
from composer.config.adapter_nodes import ADAPTERS, LOAD_SETTINGS
from composer.errors import ComposerError
from composer.recipes.requests import CheckedSpec
from composer.sweeps import schema0
from composer.sweeps.grammar import Job
from composer.sweeps.journal import Journal
from composer.system import interrupts

#: First parts of keys that decide what is loaded.
LOAD_KEYS = ("model", "task", "precision", "device", "memory", "accel")
#: Keys that may differ within a batch.
BATCH_KEYS = ("prompt", "negative_prompt", "seed")
#: Largest number of jobs in a batch that `auto` tries.
MAX_BATCH_JOBS = 16
#: States that are final.
FINAL_STATES = ("done", "duplicate", "failed")
#: Factor by which `auto` enlarges a batch.
BATCH_GROWTH = 4
#: A larger batch is kept if an image takes at most this fraction of the time it took before.
MIN_GAIN = 0.97


@dataclass(eq=False)
class Entry:
    """A job of a plan and its state.

    Attributes:
        job: The job.
        id: Its id; ``None`` until it is resolved.
        tree: Its config; empty until it is resolved.
        checked: The checked config; ``None`` until it is resolved.
        state: ``"waiting"``, ``"running"``, ``"done"``, ``"duplicate"`` or ``"failed"``.
        tries: How many times it was started.
    """

    job: Job
    id: str | None = None
    tree: Mapping[str, Any] = field(default_factory=dict)
    checked: CheckedSpec | None = None
    state: str = "waiting"
    tries: int = 0

    @property
    def resolved_id(self) -> str:
        """The id of a resolved job.

        Raises:
            RuntimeError: The job is not resolved.
        """
        if self.id is None:
            raise RuntimeError("the job is not resolved")
        return self.id

    @property
    def resolved(self) -> CheckedSpec:
        """The checked config of a resolved job.

        Raises:
            RuntimeError: The job is not resolved, or has finished.
        """
        if self.checked is None:
            raise RuntimeError("the job is not resolved")
        return self.checked

    def finish(self, state: str) -> None:
        """Set a final state and release the config and its images.

        Args:
            state: One of `FINAL_STATES`.
        """
        self.state, self.tree, self.checked = state, {}, None


@dataclass(frozen=True, eq=False)
class Batch:
    """Jobs that run as one.

    Attributes:
        entries: The jobs, in the order of their images.
        loads: Overrides that decide what is loaded; the group that the batch belongs to.
        fixed: Whether an earlier process ran the same batch, whose members must not change.
        may_grow: Whether the next batch may be larger, if memory suffices.
    """

    entries: tuple[Entry, ...]
    loads: tuple[str, ...]
    fixed: bool = False
    may_grow: bool = False


class BatchSize:
    """Number of jobs in a batch, for jobs of one model.

    ``"auto"`` grows it while that makes an image cheaper; it is halved when memory runs out.

    Args:
        batch: Fixed number of jobs, >= 1, or ``"auto"``.

    Attributes:
        size: Number of jobs in the next batch.
        maximum: Upper bound of ``size``.
    """

    def __init__(self, batch: int | str) -> None:
        self.grows = batch == "auto"
        self.size = 1 if self.grows else int(batch)
        self.maximum = MAX_BATCH_JOBS if self.grows else self.size
        self.best: float | None = None

    def measures(self, jobs: int) -> bool:
        """Test whether the time of a batch decides about the size of the next one.

        Args:
            jobs: Number of jobs in the batch.

        Returns:
            Whether the size grows, is not at its bound, and is the number of jobs.
        """
        return self.grows and jobs == self.size != self.maximum

    def record_run(self, jobs: int, seconds: float, has_memory_left: bool = True) -> None:
        """Take the time of a batch into account.

        Args:
            jobs: Number of jobs in the batch; smaller batches than ``size`` are ignored.
            seconds: Seconds per image and iteration.
            has_memory_left: Whether memory suffices for a larger batch.
        """
        if not self.measures(jobs):
            return
        if not has_memory_left:
            self.maximum = self.size
            return
        if self.best is None or seconds <= self.best * MIN_GAIN:
            self.best, self.size = seconds, min(self.size * BATCH_GROWTH, self.maximum)
        else:  # no better than the size before
            self.size = self.maximum = max(self.size // BATCH_GROWTH, 1)

    def record_failure(self, jobs: int) -> None:
        """Halve the size, for good.

        Args:
            jobs: Number of jobs in the batch that ran out of memory.
        """
        self.size = self.maximum = max(jobs // 2, 1)


class Plan:
    """All jobs, grouped by what they load and then by what they have in common within a batch.

    Args:
        jobs: Jobs in their order.
        journal: State of the folder.
        batch: Maximum number of jobs in a batch, or ``"auto"``.
        resolve: Fills in an entry's id, config and checked config.
        is_batch_safe: Tests whether jobs like this one may run as one batch.

    Attributes:
        entries: All jobs.
        groups: Entries by the overrides that decide what is loaded, then by the overrides that batches have in common.
        sizes: Batch size of each group.
        unresolvable: Jobs that turned out to be invalid, with the reasons; the driver takes them from here.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        journal: Journal,
        batch: int | str,
        resolve: Callable[[Entry], None],
        is_batch_safe: Callable[[CheckedSpec], bool],
    ) -> None:
        self.journal, self.resolve, self.is_batch_safe = journal, resolve, is_batch_safe
        self.groups: dict[tuple[str, ...], dict[tuple[str, ...], list[Entry]]] = {}
        self.entries = [Entry(job) for job in jobs]
        for entry in self.entries:
            self.groups.setdefault(load_overrides(entry.job), {}).setdefault(batch_overrides(entry.job), []).append(
                entry
            )
        self.sizes = {group: BatchSize(batch) for group in self.groups}
        self.unresolvable: list[tuple[Entry, str]] = []
        self._lists = {group: [*lists.values()] for group, lists in self.groups.items()}
        # by `id` of a list: how many at its beginning are final, or, of a list of lists, have none that is not
        self._finished: Counter[int] = Counter()
        self._by_id: dict[str, Entry] = {}

    def next(self, loaded: tuple[str, ...] | None = None) -> Batch | None:
        """Choose the next batch.

        Args:
            loaded: Group whose models are loaded; it is preferred while it has waiting jobs.

        Returns:
            The batch; ``None`` when no job waits.
        """
        order = sorted(self.groups, key=lambda group: group != loaded)
        for group in order:
            for entries in self._open_lists(group):
                batch = self._next_of(group, entries)
                if batch is not None:
                    return batch
        return None

    def must_run(self, entry: Entry) -> bool:
        """Resolve a job if needed, and test whether it still has to run.

        Args:
            entry: Job of this plan. Its state becomes ``"done"``, ``"duplicate"`` or ``"failed"`` if that is the case.

        Returns:
            Whether the job waits.
        """
        if entry.state == "waiting" and entry.id is None:
            try:
                self.resolve(entry)
            except ComposerError as error:
                interrupts.raise_if_interrupted(error)
                entry.state = "failed"
                self.unresolvable.append((entry, str(error)))
                return False
            entry.id = self.journal.resolve_id(entry.resolved_id, partial(_former_id, entry))
            self.journal.note_id(entry.job.key, entry.id)
            if self._by_id.setdefault(entry.id, entry) is not entry:
                entry.state = "duplicate"
            elif entry.id in self.journal.done:
                entry.state = "done"
        return entry.state == "waiting"

    def _next_of(self, group: tuple[str, ...], entries: list[Entry]) -> Batch | None:
        """Next batch of jobs that differ in nothing but what may differ within a batch."""
        later = (entries[i] for i in range(self._first_open(entries), len(entries)))  # a slice copies thousands
        first = next(filter(self.must_run, later), None)
        if first is None:
            return None
        earlier = self._earlier_batch(first, entries)
        if earlier is not None:
            return Batch(earlier, group, fixed=True)
        sizes = self.sizes[group]
        size = sizes.size if len(entries) > 1 else 1
        size = size if size > 1 and self.is_batch_safe(first.resolved) else 1
        batch = [first]
        for entry in later:
            if len(batch) == size:
                break
            if self.must_run(entry) and self._earlier_batch(entry, entries) is None and _joinable(first, entry):
                batch.append(entry)
        return Batch(tuple(batch), group, may_grow=sizes.measures(len(batch)))

    def _open_lists(self, group: tuple[str, ...]) -> Iterator[list[Entry]]:
        """Lists of a group without those at its beginning whose entries all are final."""
        lists, closed = self._lists[group], id(self._lists[group])
        while self._finished[closed] < len(lists):
            first = lists[self._finished[closed]]
            if self._first_open(first) < len(first):
                break
            self._finished[closed] += 1
        return (lists[i] for i in range(self._finished[closed], len(lists)))

    def _first_open(self, entries: list[Entry]) -> int:
        """Index of the first entry without a final state; remembered, since a sweep can have thousands."""
        while self._finished[id(entries)] < len(entries) and entries[self._finished[id(entries)]].state in FINAL_STATES:
            self._finished[id(entries)] += 1
        return self._finished[id(entries)]

    def _earlier_batch(self, entry: Entry, entries: list[Entry]) -> tuple[Entry, ...] | None:
        """Batch that an interrupted process ran a job in, if all members are still requested."""
        ids = self.journal.batches.get(entry.resolved_id)
        if ids is None or len(ids) == 1 or entry.tries:
            return None
        for other in entries:
            self.must_run(other)
        by_id = {other.id: other for other in entries if other.state in ("waiting", "done")}
        return tuple(by_id[job_id] for job_id in ids) if all(job_id in by_id for job_id in ids) else None


def _former_id(entry: Entry) -> str:
    """Id in the former schema, which had no recipes."""
    return schema0.job_id(entry.resolved) if isinstance(entry.resolved, Checked) else entry.resolved_id


def _joinable(first: Entry, second: Entry) -> bool:
    """Whether two jobs are runs of the same size and steps, which a task can derive from its inputs."""
    if not (isinstance(first.resolved, Checked) and isinstance(second.resolved, Checked)):
        return False
    one, two = first.resolved.request, second.resolved.request
    return (one.height, one.width, one.steps, one.steps_skipped) == (
        two.height,
        two.width,
        two.steps,
        two.steps_skipped,
    )


def load_overrides(job: Job) -> tuple[str, ...]:
    """Select the overrides that decide what is loaded.

    Args:
        job: A job.

    Returns:
        Overrides as text, in their order.
    """
    return tuple(setting.text for setting in job.settings if _decides_loading(setting.key))


def _decides_loading(key: str) -> bool:
    root, last = key.split(".")[0], key.rpartition(".")[2]
    return root in LOAD_KEYS or (root in ADAPTERS and last in LOAD_SETTINGS)


def batch_overrides(job: Job) -> tuple[str, ...]:
    """Select the overrides that all jobs of a batch have in common.

    Args:
        job: A job.

    Returns:
        Overrides as text, in their order.
    """
    return tuple(setting.text for setting in job.settings if setting.key not in BATCH_KEYS)
