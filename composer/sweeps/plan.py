"""Which jobs run next, and which of them as one batch: the same model stays loaded, the same settings run together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from composer.checks.compatibility import Checked
from composer.errors import ComposerError
from composer.sweeps import schema0
from composer.sweeps.grammar import Job
from composer.sweeps.journal import Journal
from composer.system import interrupts

#: Keys that decide what is loaded.
LOADS = ("model", "task", "precision", "device", "memory", "accel")
#: Keys that may differ within a batch.
FREE = ("prompt", "negative_prompt", "seed")
#: The largest batch that `auto` tries.
MOST = 16
#: States that none leaves.
OVER = ("done", "twin", "failed")
#: How much larger each try of `auto` is than the one before, and how much cheaper an image must get for it to be worth
#: it.
GROWTH, GAIN = 4, 0.97


@dataclass(eq=False)
class Entry:
    """A job in its place. id, tree and checked are found when it is its turn; state: waiting, running, done or failed."""

    job: Job
    id: str | None = None
    tree: Mapping[str, Any] = field(default_factory=dict)
    checked: Checked | None = None
    state: str = "waiting"
    tries: int = 0

    def over(self, state: str) -> None:
        """It is not generated any more: its images, config and all need not be kept."""
        self.state, self.tree, self.checked = state, {}, None


@dataclass(frozen=True, eq=False)
class Batch:
    """Jobs that run as one. entries: in the order of their images. fixed: as an earlier process ran it. loads: the
    group it is of.
    """

    entries: tuple[Entry, ...]
    loads: tuple[str, ...]
    fixed: bool = False


class Sizes:
    """How many jobs to a batch, for jobs of one model: what was asked, or grown while it helps and halved when memory
    ran out.
    """

    def __init__(self, asked: int | str) -> None:
        self.grows = asked == "auto"
        self.size = 1 if self.grows else int(asked)
        self.most = MOST if self.grows else self.size
        self.best: float | None = None

    def next(self) -> int:
        return self.size

    def ran(self, jobs: int, seconds: float, room: bool = True) -> None:
        """A batch took so many seconds for each image and iteration. room: whether memory is left for a larger one."""
        if not self.grows or jobs != self.size or self.size == self.most:
            return
        if not room:
            self.most = self.size
            return
        if self.best is None or seconds <= self.best * GAIN:
            self.best, self.size = seconds, min(self.size * GROWTH, self.most)
        else:  # no better than what was before
            self.size = self.most = max(self.size // GROWTH, 1)

    def failed(self, jobs: int) -> None:
        """Memory ran out."""
        self.size = self.most = max(jobs // 2, 1)


class Plan:
    """All jobs in groups that share what is loaded, and in these by what they can share a batch with.

    Args:
        settle: fills in an entry's id, tree and checked, when it is its turn.
        safe: whether jobs like this may run as one batch.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        journal: Journal,
        batch: int | str,
        settle: Callable[[Entry], None],
        safe: Callable[[Checked], bool],
    ) -> None:
        self.journal, self.settle, self.safe = journal, settle, safe
        self.groups: dict[tuple[str, ...], dict[tuple[str, ...], list[Entry]]] = {}
        self.entries = [Entry(job) for job in jobs]
        for entry in self.entries:
            self.groups.setdefault(loads(entry.job), {}).setdefault(alike(entry.job), []).append(entry)
        self.sizes = {group: Sizes(batch) for group in self.groups}
        self.over: Counter[int] = (
            Counter()
        )  # of each list of alike jobs, by its identity: how many at its beginning are done with
        self.seen: dict[str, Entry] = {}
        self.twins: list[tuple[Entry, Entry]] = []
        self.unsettled: list[tuple[Entry, str]] = []  # jobs that turned out to be impossible, and why

    def next(self, loaded: tuple[str, ...] | None = None) -> Batch | None:
        """The next batch, of the group that is loaded where it has some left; None when nothing waits."""
        order = sorted(self.groups, key=lambda group: group != loaded)
        for group in order:
            for rows in self.groups[group].values():
                batch = self._from(group, rows)
                if batch is not None:
                    return batch
        return None

    def waiting(self, entry: Entry) -> bool:
        """Whether an entry still has to run; finds out what it is, and whether it is done or a twin of another."""
        if entry.state == "waiting" and entry.id is None:
            try:
                self.settle(entry)
            except ComposerError as error:
                interrupts.raise_if_interrupted(error)
                entry.state = "failed"
                self.unsettled.append((entry, str(error)))
                return False
            entry.id = self.journal.known(entry.id, partial(schema0.identity, entry.checked))
            self.journal.settle(entry.job.key, entry.id)
            first = self.seen.setdefault(entry.id, entry)
            if first is not entry:
                entry.state = "twin"
                self.twins.append((entry, first))
            elif entry.id in self.journal.done:
                entry.state = "done"
        return entry.state == "waiting"

    def _from(self, group: tuple[str, ...], rows: list[Entry]) -> Batch | None:
        """The next batch of jobs that differ only in what a batch may differ in."""
        begin = self._begin(rows)
        first = next((entry for entry in rows[begin:] if self.waiting(entry)), None)
        if first is None:
            return None
        before = self._as_before(first, rows)
        if before is not None:
            return Batch(before, group, fixed=True)
        size = self.sizes[group].next() if len(rows) > 1 else 1
        size = size if size > 1 and self.safe(first.checked) else 1
        chosen = [first]
        for entry in rows[rows.index(first) + 1 :]:
            if len(chosen) == size:
                break
            if self.waiting(entry) and self._as_before(entry, rows) is None and _joinable(first, entry):
                chosen.append(entry)
        return Batch(tuple(chosen), group)

    def _begin(self, rows: list[Entry]) -> int:
        """The first that can still have to run: a sweep of thousands must not look at all of them for each."""
        while self.over[id(rows)] < len(rows) and rows[self.over[id(rows)]].state in OVER:
            self.over[id(rows)] += 1
        return self.over[id(rows)]

    def _as_before(self, entry: Entry, rows: list[Entry]) -> tuple[Entry, ...] | None:
        """The batch that an interrupted process ran a job in, where all of it is still asked for."""
        ids = self.journal.batches.get(entry.id)
        if ids is None or len(ids) == 1 or entry.tries:
            return None
        for each in rows:
            self.waiting(each)
        there = {each.id: each for each in rows if each.state in ("waiting", "done")}
        return tuple(there[each] for each in ids) if all(each in there for each in ids) else None


def _joinable(one: Entry, other: Entry) -> bool:
    """Images of one batch have one size; without a size of their own, prompts and seeds change none."""
    first, second = one.checked.request, other.checked.request
    return (first.height, first.width, first.steps, first.steps_skipped) == (
        second.height,
        second.width,
        second.steps,
        second.steps_skipped,
    )


def loads(job: Job) -> tuple[str, ...]:
    """What decides what is loaded for a job."""
    return tuple(setting.text for setting in job.settings if setting.key.split(".")[0] in LOADS)


def alike(job: Job) -> tuple[str, ...]:
    """What jobs of one batch have in common."""
    return tuple(setting.text for setting in job.settings if setting.key not in FREE)
