"""One run from the command line: generate images, write them to a directory, and print their paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from composer.config.output_folder import leave_nothing, make
from composer.errors import LeftBehind
from composer.records.leftovers import named, stamps, written
from composer.system import console
from composer.system.files import exclusive_lock

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from composer.records.result import Result


def run_job(config: DictConfig | Mapping[str, Any], folder: Path) -> None:
    """Generate the images of one composed config, and print their paths.

    Args:
        config: The composed config.
        folder: Directory of the images and the record.

    Raises:
        ComposerError: The request cannot be met, or the run failed.
    """
    from composer.recipes.requests import execute_request, read_request
    from composer.recipes.spec import without_progress

    def generate() -> Result:
        spec = read_request(config)
        return execute_request(
            without_progress(spec) if console.output_mode.quiet else spec, folder, console.print_note
        )

    finished(generate, folder)


def finished(generate: Callable[[], Result], folder: Path) -> Result:
    """Generate images, write them to a directory and print their paths. After a failure no files are left.

    Args:
        generate: Generates the images.
        folder: Directory of the images and the record; it is locked meanwhile.

    Returns:
        The images, and how they were generated.

    Raises:
        ComposerError: The run failed, or another process holds the lock.
    """
    from composer.records.result import save

    console.output_mode.run = shown(folder)
    new = make(folder)
    before = stamps(folder)
    with exclusive_lock(folder):
        try:
            result = generate()
            paths = save(result, folder, written(folder, before, []))
        except LeftBehind as error:  # raised once the images are saved
            if error.result is None:
                leave_nothing(new)
            else:
                partial: Any = error.result  # a Result, whose class is imported later than errors
                save(partial, folder, written(folder, before, []))
            raise
        except BaseException:
            leave_nothing(new)
            raise
    where = shown(paths[0]) if len(paths) == 1 else f"{len(paths)} {result.kind}s in {shown(paths[0].parent)}"
    text = f"{where}  (seed {result.seeds[0]}, {taken(result.record)}, {result.seconds:.1f} s{_measures(result)})"
    more = written(folder, before, paths)
    if more:
        text += f"\nbeside {'it' if len(paths) == 1 else 'them'}: {named(folder, more)}"
    facts = {
        "more": [shown(path) for path in more],
        **{key: result.record[key] for key in ("images", "seconds", "peak_memory", "notes")},
        "metrics": result.metrics,
    }
    console.report_result(text, [shown(path) for path in paths], record=shown(folder / "run.json"), **facts)
    return result


def _measures(result: Result) -> str:
    """The metrics of the only image, or their means."""
    known = {name: [value for value in values if value is not None] for name, values in result.metrics.items()}
    mean = "mean " if len(result.media) > 1 else ""
    return "".join(f", {mean}{name} {fmean(values):.4g}" for name, values in known.items() if values)


def taken(record: Mapping[str, Any]) -> str:
    """Format how far denoising went.

    Args:
        record: The run's record.

    Returns:
        Such as `20 iterations`, or `4 of 10 steps` if it began from an image.
    """
    if record["steps_left_out"]:
        return f"{record['steps'] - record['steps_left_out']} of {record['steps']} steps"
    return f"{record['iterations']} iterations"


def shown(path: Path | str) -> str:
    """Shorten a path.

    Args:
        path: The path.

    Returns:
        The path relative to the current directory, or itself if it is elsewhere.
    """
    text = str(path)
    return text.replace(f"{Path.cwd()}{os.sep}", "")
