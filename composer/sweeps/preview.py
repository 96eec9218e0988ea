"""Tables of a sweep: invalid jobs, the plan, and the speed by setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.headers import count_weights
from composer.config.spec import PrecisionSpec
from composer.errors import ComposerError, printable, shorten
from composer.recipes.requests import runs_of
from composer.sweeps.grammar import Job
from composer.sweeps.journal import Journal
from composer.sweeps.plan import BATCH_KEYS, MAX_BATCH_JOBS, Entry, Plan
from composer.sweeps.status import seconds_per_step
from composer.system.timing import describe_speedup

if TYPE_CHECKING:
    from composer.sweeps.parse import Sweep

#: Rows of the table of invalid jobs; further reasons are only counted.
MAX_REASONS = 20
BYTES_PER_VALUE = {"fp32": 4, "fp16": 2, "bf16": 2}


def format_table(table: Sequence[Sequence[str]]) -> str:
    """Align the columns of a table.

    Args:
        table: Rows of equal length, at least one.

    Returns:
        A line per row; columns are two spaces apart.
    """
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in table)


def invalid_table(jobs: Sequence[Job], invalid: Mapping[int, ComposerError]) -> str:
    """Format a table of invalid jobs, grouped by reason.

    Args:
        jobs: All jobs.
        invalid: Errors of invalid jobs by their number.

    Returns:
        Lines of the table.
    """
    by_reason: dict[str, list[Job]] = {}
    for job in jobs:
        if job.number in invalid:
            by_reason.setdefault(str(invalid[job.number]), []).append(job)
    lines = []
    for reason, several in list(by_reason.items())[:MAX_REASONS]:
        first = " ".join(f"{key}={shorten(value, 30)}" for key, value in several[0].values.items())
        lines.append(
            (f"{len(several)} jobs" if len(several) > 1 else f"job {several[0].number}", printable(first), reason)
        )
    more = len(by_reason) - MAX_REASONS
    return format_table([("invalid", "such as", "because"), *lines]) + (
        f"\nand {more} other reasons" if more > 0 else ""
    )


def plan_text(sweep: Sweep, invalid: Mapping[int, ComposerError]) -> str:
    """Format the plan of a sweep, without loading weights.

    Args:
        sweep: The parsed sweep.
        invalid: Errors of invalid jobs by their number.

    Returns:
        A table of the groups by what they load, with the numbers of jobs and batches, the size of the weights, and
        the time if finished jobs allow an estimate; then totals and a table of invalid jobs.
    """
    journal = Journal.read(sweep.folder) if sweep.folder.is_dir() else Journal(sweep.folder)
    jobs = [job for job in sweep.jobs if job.number not in invalid]
    plan = Plan(jobs, journal, sweep.spec.batch, sweep.resolve, lambda checked: True)
    speed = seconds_per_step(journal.briefs.values())
    max_batch = sweep.spec.batch if isinstance(sweep.spec.batch, int) else MAX_BATCH_JOBS
    lines = [("group", "jobs", "done", "batches", "weights", "time", "loads")]
    all_sizes: dict[str, int] = {}
    for number, (loads, group) in enumerate(plan.groups.items()):
        line, sizes = _group_line(plan, list(group.values()), max_batch, speed)
        lines.append((str(number), *line, " ".join(text.lstrip("+") for text in loads) or "as configured"))
        all_sizes.update(sizes)
    lines_below = [
        f"{len(sweep.jobs)} jobs → {sweep.folder}",
        format_table(lines),
        f"weights of all groups, shared ones once: {format_mib(sum(all_sizes.values()))}; "
        f"prompts to encode: {max(_count_prompts(sweep.jobs), 1)}",
        f"a batch has up to {sweep.spec.batch} jobs that differ in prompt or seed alone"
        if isinstance(sweep.spec.batch, int)
        else f"batches grow up to {MAX_BATCH_JOBS} jobs while that makes an image cheaper",
    ]
    return "\n".join([*lines_below, *([invalid_table(sweep.jobs, invalid)] if invalid else [])])


def _group_line(
    plan: Plan, batchable: Sequence[Sequence[Entry]], max_batch: int, speed: float | None
) -> tuple[tuple[str, str, str, str, str], dict[str, int]]:
    """Cells of one group: jobs, done, batches, weights and time; and bytes of its weight files."""
    members = [entry for entries in batchable for entry in entries]
    sizes: dict[str, int] = {}
    batches = image_steps = 0
    for entries in batchable:
        waiting = 0
        for entry in entries:
            waiting += plan.must_run(entry)
            runs = runs_of(entry.checked) if entry.checked is not None else ()
            for run in () if sizes else runs:
                sizes |= weight_sizes(run.checkpoint, run.spec.precision)
            if entry.state == "waiting":
                image_steps += sum(run.request.steps * run.request.batch for run in runs)
            entry.tree, entry.checked = {}, None  # thousands of configs are not kept
        batches += -(-waiting // max_batch)
    line = (
        str(len(members)),
        str(sum(entry.state == "done" for entry in members)),
        f"{batches}+" if max_batch == MAX_BATCH_JOBS else str(batches),
        format_mib(sum(sizes.values())),
        f"{image_steps * speed:.0f} s" if speed else "?",
    )
    return line, sizes


def _count_prompts(jobs: Sequence[Job]) -> int:
    settings = (setting for job in jobs for setting in job.settings)
    return len({(setting.key, setting.text) for setting in settings if setting.key in ("prompt", "negative_prompt")})


def weight_sizes(checkpoint: Checkpoint, precision: PrecisionSpec) -> dict[str, int]:
    """Compute the size of a checkpoint's weights in memory from the headers of its files.

    Args:
        checkpoint: The checkpoint.
        precision: Requested dtypes.

    Returns:
        Bytes by file.
    """
    files_of = (
        {"": [checkpoint.path]}
        if checkpoint.single_file
        else {name: checkpoint.files(name) for name in checkpoint.classes}
    )
    value_sizes = {name: BYTES_PER_VALUE.get(precision.components.get(name, precision.dtype), 4) for name in files_of}
    return {
        file: count * value_sizes[name]
        for name, files in files_of.items()
        for file, count in count_weights(files).items()
    }


def speedup_table(plan: Plan, journal: Journal) -> str | None:
    """Compare the time per image across the values of a setting, if a sweep varies a single one.

    Prompts and seeds may vary as well. Differences below the noise, and values that were measured once, are marked.

    Args:
        plan: Jobs of the sweep.
        journal: Their records.

    Returns:
        A line for each value with the median time per image and the speedup over the first value; ``None`` if
        several settings vary or fewer than two values have finished jobs.
    """
    keys = dict.fromkeys(key for entry in plan.entries for key in entry.job.values)
    values_of = {key: {entry.job.values.get(key) for entry in plan.entries} for key in keys}
    axes = [key for key, values in values_of.items() if len(values) > 1 and key not in BATCH_KEYS]
    if len(axes) != 1:
        return None
    seconds: dict[str, list[float]] = {}
    for entry in plan.entries:
        brief = journal.briefs.get(entry.id, {}) if entry.id else {}
        if brief.get("images"):
            seconds.setdefault(entry.job.values.get(axes[0], ""), []).append(brief["seconds"] / len(brief["images"]))
    medians = {value: median(times) for value, times in seconds.items()}
    if len(medians) < 2 or not all(medians.values()):
        return None
    first, *others = seconds.values()
    verdicts = ["1.00 x", *(describe_speedup(first, times) for times in others)]
    lines = [
        (f"{axes[0]}={shorten(value, 40)}", f"{medians[value]:.2f} s an image", text)
        for value, text in zip(medians, verdicts)
    ]
    once = "measured once" in verdicts
    advice = '\nmeasured once, a time says little: add "seed=range(4)" sweep.batch=1' if once else ""
    return format_table(lines) + advice


def format_mib(size: int) -> str:
    """Format a size in MiB.

    Args:
        size: Bytes.

    Returns:
        Text such as ``"1,234 MiB"``.
    """
    return f"{size / 2**20:,.0f} MiB"
