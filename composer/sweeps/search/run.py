"""Command of a search: parse the command line, check the search space, lock the folder, and run the trials."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from composer.callbacks.request import Request
from composer.checkpoints.layouts import HOSTED
from composer.config.command_line import ParsedArgs
from composer.config.recipes import RECIPE, recipe_name
from composer.errors import ComposerError
from composer.recipes.requests import runs_of
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
    if name := recipe_name(line.overrides):
        raise ComposerError(RECIPE, name, "has several steps, and a search tries single runs: sweep over it instead")
    search = parse_search(line)
    reference = search.reference()
    found = _check_space(search, reference)
    with locked(search.folder):
        from composer.sweeps.search.trials import Trials

        return Trials(search, reference, *found).run()


def _check_space(search: Search, reference: Reference | Entry | None) -> tuple[tuple[Objective, ...], list[Any]]:
    """Check the extreme points of the space, and that their images can be compared; without weights or torch.

    Args:
        search: The search.
        reference: What the trials are compared with.

    Returns:
        What is to be best, and what determines the values of metrics.
    """
    wanted: tuple[Objective, ...] = ()
    keys: list[Any] = []
    for point in search.space.corners():
        (checked,) = runs_of(search.trial(point).resolved)
        wanted = objectives(search.spec, checked.metrics)
        keys = metric_keys(checked.spec.metrics, checked.metrics)
        if reference is not None and checked.task.makes != "image":
            reason = f"compares images, and task={checked.spec.task.name} makes {checked.task.makes}s: leave it out"
            raise ComposerError(KEY, search.spec.reference, reason)
        if reference is None or checked.checkpoint.family == HOSTED:  # its size is known only from its images
            continue
        size = _output_size(checked.request)
        if isinstance(reference, Reference):
            reference.check_size(*size)
        elif (reference_size := _output_size(runs_of(reference.resolved)[0].request)) != size:
            sizes = " and ".join(
                f"{images} of {width} x {height} pixels" for images, height, width in (reference_size, size)
            )
            reason = f"its images and those of a trial can't be compared: {sizes}"
            raise ComposerError(KEY, search.spec.reference, reason)
    return wanted, keys


def _output_size(request: Request) -> tuple[int, int, int]:
    """Number of images, height and width in pixels; of the second pass, if there is one."""
    height, width = request.sizes[-1]
    return request.batch, height, width
