"""A search from the words of the command line to its last line: parse, refuse, lock, draw."""

from __future__ import annotations

from importlib.util import find_spec

from composer.checkpoints.layouts import CLASSIC
from composer.config.command_line import ParsedArgs
from composer.errors import ComposerError
from composer.sweeps.lock import locked
from composer.sweeps.plan import Entry
from composer.sweeps.search.metrics import KEY, Reference
from composer.sweeps.search.parse import Search, asked_for


def run(line: ParsedArgs) -> int:
    """Search, or go on with it; 0 when some trial is what was asked for, 1 when none is."""
    if find_spec("optuna") is None:
        raise ComposerError("hydra/sweeper", "optuna", "needs Optuna: pip install 'diffusion-composer[optuna]'")
    search = asked_for(line)
    reference = search.reference()
    _refuse_what_cannot_work(search, reference)
    with locked(search.folder):
        from composer.sweeps.search.trials import Trials

        return Trials(search, reference).run()


def _refuse_what_cannot_work(search: Search, reference: Reference | Entry | None) -> None:
    """Each word and both ends of numbers once, and whether their images can be compared; no weights, no torch."""
    for point in search.space.corners():
        checked = search.trial(point).checked
        if reference is None or checked.checkpoint.family == CLASSIC:  # of which only the images tell the size
            continue
        wanted, there = _makes(checked.request), None
        if isinstance(reference, Reference):
            reference.refuse(*wanted)
        elif (there := _makes(reference.checked.request)) != wanted:
            told = " and ".join(f"{images} of {width} x {height} pixels" for images, height, width in (there, wanted))
            raise ComposerError(
                KEY, search.spec.reference, f"its images and those of a trial can't be compared: {told}"
            )


def _makes(request) -> tuple[int, int, int]:
    """Images, and their height and width; where there is a second pass, it decides."""
    second = request.inputs.get("second") or {}
    return request.batch, second.get("height", request.height), second.get("width", request.width)
