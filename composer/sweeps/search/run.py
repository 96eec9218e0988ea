"""Command of a search: parse the command line, check the search space, lock the folder, and run the trials."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from composer.checks.compatibility import Checked
from composer.checks.metrics import final_size
from composer.config.command_line import ParsedArgs
from composer.errors import ComposerError
from composer.recipes.check import CheckedTool
from composer.recipes.requests import last_of
from composer.records.measured import metric_keys
from composer.sweeps.lock import locked
from composer.sweeps.plan import Entry
from composer.sweeps.search.metrics import KEY, Objective, Reference, objectives
from composer.sweeps.search.parse import Search, parse_search


def run(line: ParsedArgs) -> int:
    """Run a search, or continue it.

    Args:
        line: The command line.

    Returns:
        The exit code: 0 when some trial meets the request, 1 when none does.

    Raises:
        ComposerError: The search is invalid, Optuna is not installed, or another process works in its folder.
    """
    if find_spec("optuna") is None:
        raise ComposerError("hydra/sweeper", "optuna", "needs Optuna: pip install 'diffusion-composer[optuna]'")
    search = parse_search(line)
    reference = search.reference()
    parts = _check_space(search, reference)
    with locked(search.folder):
        from composer.sweeps.search.trials import Trials

        return Trials(search, reference, *parts).run()


def _check_space(search: Search, reference: Reference | Entry | None) -> tuple[tuple[Objective, ...], list[Any]]:
    """Check the extreme points of the space, and that their images can be compared; without weights or torch.

    Args:
        search: The search.
        reference: What the trials are compared with.

    Returns:
        What is to be best, and what determines the values of metrics.
    """
    aims: tuple[Objective, ...] = ()
    keys: list[Any] = []
    for point in search.space.corners():
        checked = last_of(search.trial(point).resolved)
        aims = objectives(search.spec, checked.metrics)
        keys = metric_keys(checked.spec.metrics, checked.metrics)
        if reference is not None and isinstance(checked, Checked) and checked.task.makes != "image":
            reason = f"compares images, and task={checked.spec.task.name} makes {checked.task.makes}s: leave it out"
            raise ComposerError(KEY, search.spec.reference, reason)
        size = None if reference is None else _output_size(checked)
        if size is None:  # known only from its images
            continue
        if isinstance(reference, Reference):
            reference.check_size(*size)
        elif reference and (reference_size := _output_size(last_of(reference.resolved))) not in (None, size):
            sizes = " and ".join(
                f"{images} of {width} x {height} pixels" for images, height, width in (reference_size or size, size)
            )
            reason = f"its images and those of a trial can't be compared: {sizes}"
            raise ComposerError(KEY, search.spec.reference, reason)
    return aims, keys


def _output_size(checked: Checked | CheckedTool) -> tuple[int, int, int] | None:
    """Number of images, height and width in pixels; None where only the images show it."""
    if isinstance(checked, Checked):
        count, size = checked.request.batch, final_size(checked.request)
    else:
        count, size = checked.count, checked.size
    return None if size is None else (count, size[1], size[0])
