"""What a sweep prints: jobs that can't work, what would run, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.headers import count_weights
from composer.config.spec import PrecisionSpec
from composer.errors import ComposerError, printable, shorten
from composer.sweeps.grammar import Job
from composer.sweeps.journal import Journal
from composer.sweeps.plan import FREE, MOST, Plan
from composer.sweeps.status import pace
from composer.system.timing import describe_speedup

if TYPE_CHECKING:
    from composer.sweeps.parse import Sweep

#: Lines of a table of which more would not be read.
FEW = 20
BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}


def rows(table: Sequence[Sequence[str]]) -> str:
    """Columns under each other, two spaces apart."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in table)


def invalid_table(jobs: Sequence[Job], bad: Mapping[int, ComposerError]) -> str:
    """Jobs that can't work and why, those with one reason together."""
    by_reason: dict[str, list[Job]] = {}
    for job in jobs:
        if job.number in bad:
            by_reason.setdefault(str(bad[job.number]), []).append(job)
    lines = []
    for reason, several in list(by_reason.items())[:FEW]:
        first = " ".join(f"{key}={shorten(value, 30)}" for key, value in several[0].values.items())
        lines.append(
            (f"{len(several)} jobs" if len(several) > 1 else f"job {several[0].number}", printable(first), reason)
        )
    more = len(by_reason) - FEW
    return rows([("can't work", "such as", "because"), *lines]) + (f"\nand {more} other reasons" if more > 0 else "")


def plan_text(sweep: Sweep, bad: Mapping[int, ComposerError]) -> str:
    """What would run: jobs, groups by what they load, batches, memory, and time where earlier jobs tell it. Loads no
    weights.

    Args:
        bad: reasons of invalid jobs by their number.
    """
    journal = Journal.read(sweep.folder) if sweep.folder.is_dir() else Journal(sweep.folder)
    plan = Plan(
        [job for job in sweep.jobs if job.number not in bad],
        journal,
        sweep.spec.batch,
        sweep.settle,
        lambda checked: True,
    )
    speed = pace(journal.briefs.values())
    lines = [("group", "jobs", "done", "batches", "weights", "time", "loads")]
    there: dict[str, int] = {}
    for number, (loads, group) in enumerate(plan.groups.items()):
        members = [entry for each in group.values() for entry in each]
        waiting = [entry for entry in members if plan.waiting(entry)]
        first = next((entry for entry in members if entry.checked is not None), None)
        sizes = weights(first.checked.checkpoint, first.checked.spec.precision) if first else {}
        there.update(sizes)
        most = sweep.spec.batch if isinstance(sweep.spec.batch, int) else MOST
        batches = sum(-(-sum(entry in waiting for entry in each) // most) for each in group.values())
        seconds = (
            sum(entry.checked.request.steps * entry.checked.request.batch for entry in waiting) * speed
            if speed
            else None
        )
        done = sum(entry.state == "done" for entry in members)
        lines.append(
            (str(number), str(len(members)), str(done), f"{batches}+" if most == MOST else str(batches), format_mib(sum(sizes.values())),
             "?" if seconds is None else f"{seconds:.0f} s", " ".join(text.lstrip("+") for text in loads) or "as configured")
        )  # fmt: skip
    texts = {
        (setting.key, setting.text)
        for job in sweep.jobs
        for setting in job.settings
        if setting.key in ("prompt", "negative_prompt")
    }
    about = [
        f"{len(sweep.jobs)} jobs → {sweep.folder}",
        rows(lines),
        f"weights of all groups, shared ones once: {format_mib(sum(there.values()))}; prompts to encode: {max(len(texts), 1)}",
        f"a batch has up to {sweep.spec.batch} jobs that differ in prompt or seed alone"
        if isinstance(sweep.spec.batch, int)
        else f"batches grow up to {MOST} jobs while that makes an image cheaper",
    ]
    return "\n".join([*about, *([invalid_table(sweep.jobs, bad)] if bad else [])])


def weights(checkpoint: Checkpoint, precision: PrecisionSpec) -> dict[str, int]:
    """File → bytes of its weights in the wanted precision."""
    places = (
        {"": [checkpoint.path]}
        if checkpoint.single_file
        else {name: checkpoint.files(name) for name in checkpoint.classes}
    )
    sizes = {name: BYTES.get(precision.components.get(name, precision.dtype), 4) for name in places}
    return {file: count * sizes[name] for name, files in places.items() for file, count in count_weights(files).items()}


def speedup_table(plan: Plan, journal: Journal) -> str | None:
    """Where one setting alone was varied: what an image took with each of its values, and how many times as fast as the
    first that is.

    Prompts and seeds may vary besides. Nothing is said of what was measured once, or differs by less than the noise.
    """
    keys = dict.fromkeys(key for entry in plan.entries for key in entry.job.values)
    varied = {key: {entry.job.values.get(key) for entry in plan.entries} for key in keys}
    axes = [key for key, values in varied.items() if len(values) > 1 and key not in FREE]
    if len(axes) != 1:
        return None
    taken: dict[str, list[float]] = {}
    for entry in plan.entries:
        brief = journal.briefs.get(entry.id, {})
        if brief.get("images"):
            taken.setdefault(entry.job.values.get(axes[0], ""), []).append(brief["seconds"] / len(brief["images"]))
    medians = {value: median(seconds) for value, seconds in taken.items()}
    if len(medians) < 2 or not all(medians.values()):
        return None
    first, *others = taken.values()
    said = ["1.00 x", *(describe_speedup(first, other) for other in others)]
    lines = [
        (f"{axes[0]}={shorten(value, 40)}", f"{medians[value]:.2f} s an image", each)
        for value, each in zip(medians, said)
    ]
    advice = '\nmeasured once, a time says little: add "seed=range(4)" sweep.batch=1' if "measured once" in said else ""
    return rows(lines) + advice


def format_mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
