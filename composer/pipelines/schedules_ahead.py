"""Trials of other step counts and schedulers than those of a request, so that checks of these need no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from math import inf
from time import perf_counter
from types import MappingProxyType

from composer.checks.compatibility import Checked
from composer.config.catalogue import catalogue
from composer.config.keys import is_reserved
from composer.config.search_path import conf_folders
from composer.config.spec import Choice, SchedulerSpec
from composer.errors import ComposerError
from composer.pipelines.check_facts import KNOWN, schedule_facts
from composer.pipelines.known_schedules import KnownSchedule, alike, keep_schedule, recall_schedule
from composer.pipelines.resolve import resolve_scheduler, timestep_layout
from composer.pipelines.schedule_check import check_schedule
from composer.pipelines.schedule_lines import schedule_lines

#: Seconds that may be spent on other step counts, on another scheduler, and on all of these.
BUDGET, BUDGET_OF_OTHER, BUDGET_OF_OTHERS = 0.5, 0.05, 1.5
#: Seconds that a process may spend in all: each job of a sweep over sizes can have a schedule of its own.
BUDGET_OF_PROCESS = 3.0
#: Step counts that another scheduler is tried with at first.
FEW = 3
#: Options that are tried first.
POPULAR = ("euler", "dpmpp_2m", "ddim", "euler_a", "unipc", "dpmpp_2m_karras", "euler_karras", "pndm", "flow_unipc")


#: Seconds that this process has spent.
_spent = 0.0


def try_schedules(checked: Checked, notes: Sequence[str]) -> None:
    """Keep the result of a schedule that passed, and try the same one with other steps, and other schedulers.

    Args:
        checked: The request with its checkpoint.
        notes: Notes on its schedule.
    """
    if schedule_facts(checked) is None or recall_schedule(checked) is not None:
        return
    global _spent
    begun, left = perf_counter(), BUDGET_OF_PROCESS - _spent
    keep_schedule(checked, KnownSchedule(*_passed([checked, *alike(checked)], begun + min(BUDGET, left)), notes))
    end = min(begun + left, perf_counter() + BUDGET_OF_OTHERS)
    for other in _other_schedulers(checked) if left > 0 else ():
        now = perf_counter()
        if now > end:
            break
        if recall_schedule(other) is None:
            _try_other(other, min(end, now + BUDGET_OF_OTHER), FEW)
    _spent += perf_counter() - begun


def try_all_schedules(checked: Checked) -> None:
    """Try a schedule with all step counts to `MOST`, and all other schedulers, however long that takes.

    Args:
        checked: The request with its checkpoint.
    """
    for one in (checked, *_other_schedulers(checked)):
        if recall_schedule(one) is None:
            _try_other(one, inf, None)


def _try_other(other: Checked, end: float, most: int | None) -> None:
    with suppress(ComposerError):  # which a check of this scheduler raises again
        notes = check_schedule(other, *resolve_scheduler(other, other.checkpoint), timestep_layout(other.checkpoint))
        keep_schedule(other, KnownSchedule(*_passed([other, *islice(alike(other), most)], end), notes))


def _passed(requests: Iterable[Checked], end: float) -> tuple[list[str], dict[tuple[int, int], str]]:
    """Lines on settings and steps of requests with one schedule that pass, as far as they are tried until a time.

    One of them always is.
    """
    settings, passed = list[str](), dict[tuple[int, int], str]()
    for one in requests:
        if passed and perf_counter() > end:
            break
        with suppress(ComposerError):
            check_schedule(one, *resolve_scheduler(one, one.checkpoint), timestep_layout(one.checkpoint))
            *settings, passed[one.request.steps, one.request.steps_skipped] = schedule_lines(one)
    return settings, passed


def _other_schedulers(checked: Checked) -> Iterator[Checked]:
    """The request with each scheduler option of its model's kind."""
    kind = checked.checkpoint.scheduler_type
    options = catalogue(conf_folders())["scheduler"]
    for name in dict.fromkeys((*POPULAR, *options)):
        content = options.get(name, {})
        path = str(content.get("_target_") or "")
        if content.get("_kind_") == kind and path.partition(".")[0] in KNOWN:
            scheduler = SchedulerSpec(
                target=Choice(path=path, keywords=MappingProxyType({}), group="scheduler", name=name), kind=kind,
                keywords=MappingProxyType({key: value for key, value in content.items() if not is_reserved(key)}),
                name=name,
            )  # fmt: skip
            yield replace(checked, spec=replace(checked.spec, scheduler=scheduler))
