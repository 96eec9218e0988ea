"""Results of checks of the embedded checkpoints, which come with composer: `python -m composer.pipelines.make_results`

They are made anew when a check, a scheduler option or a tested version changes; a test says so.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from composer.checks.compatibility import Checked, check
from composer.config.catalogue import catalogue
from composer.config.compose import compose_config
from composer.config.read import read
from composer.config.search_path import packaged_conf
from composer.config.spec import RunSpec
from composer.errors import ComposerError
from composer.loading.check_cache import recording
from composer.loading.tested_results import FILE, write_tested
from composer.pipelines.check_facts import OPTIONAL
from composer.pipelines.offers import find_offers
from composer.pipelines.schedules_ahead import try_all_schedules
from composer.pipelines.trial import lines_of_schedule, tried
from composer.system.devices import is_on_cpu

MODELS = ("tiny", "tiny_flow")
#: Inputs of tasks that have no default for them.
GIVEN = {"edit": ["references=sample:scene"]}
#: Groups whose options are tried one by one.
LISTS_OF_OPTIONS = ("memory", "accel")
#: What else people ask of them.
MORE = (["images=2", "memory=[vae_slicing]"], ["prompt_syntax=weights"], ["prompt_overflow=chunk"])


def specs() -> list[RunSpec]:
    """Read the settings of each task of the embedded models, alone and with each option, precision and one of `MORE`.

    Returns:
        Settings, some of which no model can meet.
    """
    options = catalogue([packaged_conf()])
    single = [[f"{group}=[{name}]"] for group in LISTS_OF_OPTIONS for name in options[group]]
    single += [[f"precision={name}"] for name in options["precision"]]
    words = [[f"model={model}", f"task={task}", *GIVEN.get(task, ())] for model in MODELS for task in options["task"]]
    return [read(compose_config([*of_task, *more])) for of_task in words for more in ([], *single, *MORE)]


def requests(settings: Sequence[RunSpec]) -> Iterator[Checked]:
    """Iterate over the requests that the models can meet as far as their JSON files show, and over those of sweeps.

    Args:
        settings: As from `specs`.

    Yields:
        Requests with their checkpoints.
    """
    for spec in settings:
        with suppress(ComposerError):
            checked = check(spec)
            yield checked
            yield replace(checked, lenient=True)


def find_all(checked: Checked) -> None:
    """Try a request and all that `compose show` lists of it, and its schedules; nothing if it is refused.

    Args:
        checked: The request with its checkpoint.
    """
    with suppress(ComposerError):
        tried(checked)
        lines_of_schedule(checked)
        if not checked.lenient:  # a sweep lists none
            find_offers(checked)


@contextmanager
def without(packages: Sequence[str]) -> Iterator[None]:
    """Make packages appear as not installed, to imports as well.

    Args:
        packages: Their names.

    Yields:
        Nothing.
    """
    loaded = {name: sys.modules[name] for name in packages if name in sys.modules}
    sys.modules.update(dict.fromkeys(packages))  # type: ignore[arg-type]  # None is what stops an import
    try:
        yield
    finally:
        for name in packages:
            del sys.modules[name]
        sys.modules.update(loaded)


def main() -> None:
    if not is_on_cpu("auto"):
        raise SystemExit("the results are those of a machine without a GPU: hide it (CUDA_VISIBLE_DEVICES=)")
    settings, results = specs(), dict[tuple[str, str], Any]()
    for hidden in (OPTIONAL, ()):  # without optional packages, as most install it, and with those that are here
        with recording(results), without(hidden):
            for checked in requests(settings):
                try_all_schedules(checked)
                find_all(checked)
        print(f"{len(results)} results", flush=True)
    with tempfile.TemporaryDirectory(dir=FILE.parent) as folder:
        draft = Path(folder, FILE.name)
        write_tested(draft, results)
        draft.replace(FILE)


if __name__ == "__main__":
    main()
