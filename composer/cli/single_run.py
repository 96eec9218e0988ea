"""One run from the command line: make images, write them into a folder, and say where they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.config.output_folder import leave_nothing, make
from composer.errors import LeftBehind
from composer.records.leftovers import named, stamps, written
from composer.system import console
from composer.system.files import exclusive_lock

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from composer.records.result import Result


def run_job(config: DictConfig, folder: Path) -> None:
    """Make the images of one composed config and say where they are."""
    from composer.config.read import read
    from composer.pipelines.run import execute

    def drawn() -> Result:
        spec = read(config)
        if console.output_mode.quiet:
            spec = replace(spec, callbacks={name: each for name, each in spec.callbacks.items() if name != "progress"})
        return execute(spec, folder, console.print_note)

    finished(drawn, folder)


def finished(drawn: Callable[[], Result], folder: Path) -> Result:
    """Make images, write them into a folder and say where they are; of a failure nothing is left."""
    console.output_mode.run = shown(folder)
    new = make(folder)
    before = stamps(folder)
    with exclusive_lock(folder):
        try:
            result = drawn()
            paths = result.save(folder)
        except LeftBehind as error:  # told once what was made is saved
            if error.result is None:
                leave_nothing(new)
            else:
                error.result.save(folder)
            raise
        except BaseException:
            leave_nothing(new)
            raise
    where = shown(paths[0]) if len(paths) == 1 else f"{len(paths)} images in {shown(paths[0].parent)}"
    told = f"{where}  (seed {result.seeds[0]}, {taken(result.record)}, {result.seconds:.1f} s)"
    more = written(folder, before, paths)
    if more:
        told += f"\nbeside {'it' if len(paths) == 1 else 'them'}: {named(folder, more)}"
    facts = {
        "more": [shown(path) for path in more],
        **{key: result.record[key] for key in ("images", "seconds", "peak_memory", "notes")},
    }
    console.report_result(told, [shown(path) for path in paths], record=shown(folder / "run.json"), **facts)
    return result


def taken(record: Mapping[str, Any]) -> str:
    """How far the denoising went: `20 iterations`, or `4 of 10 steps` where it began from an image."""
    if record["steps_left_out"]:
        return f"{record['steps'] - record['steps_left_out']} of {record['steps']} steps"
    return f"{record['iterations']} iterations"


def shown(path: Path | str) -> str:
    """A path relative to the current folder where that is shorter."""
    text = str(path)
    return text.replace(f"{Path.cwd()}{os.sep}", "")
