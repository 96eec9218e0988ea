"""Runs under Hydra: it composes each job's config and makes its folder, composer does the rest."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer import argv, speak
from composer.errors import ComposerError, printable
from composer.files import alone
from composer.line import Line

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from composer.pipeline import Result

#: The one sweeper that is ours.
SEARCH = "hydra/sweeper=optuna"


def hydra_run(line: Line) -> int:
    """Let Hydra compose the config and make the folder, then run the job in it; a multirun is a sweep of ours."""
    if line.multirun and SEARCH in line.overrides:
        from composer.sweep.search import run

        return run(line)
    for key, value in (argv.split(word)[1:] for word in line.overrides):
        if key.startswith("search."):
            raise ComposerError(key, value, f"is about a search: add -m {SEARCH}")
    if line.multirun and not _others(line):
        from composer.sweep.run import run

        return run(line)
    for word in line.overrides:
        _, key, value = argv.split(word)
        if (key.startswith(("sweep.", "sheet.")) or word == SEARCH) and not line.multirun:
            raise ComposerError(key, value, "is about several runs: add -m")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands us its exceptions instead of printing them
    import hydra
    from hydra.core.hydra_config import HydraConfig

    from composer.api import settle
    from composer.explain import explained
    from composer.plugins import register_search_path

    failures: list[tuple[str, Exception]] = []

    def job(config: DictConfig) -> None:
        try:
            settle(config, HydraConfig.get())
            run_job(config, _inside(HydraConfig.get()), line.verbose)
        except Exception as error:
            if line.multirun:  # another's launcher may have called this in another process
                raise
            failures.append((str(HydraConfig.get().job.get("num", 0)), error))

    register_search_path(line.config_dir)
    overrides = argv.prepare(line.overrides, line.multirun)
    before = sys.argv
    sys.argv = ["compose", *line.flags, *overrides]
    try:
        with explained(overrides, line.config_dir):
            hydra.main(config_path=None, config_name="compose", version_base="1.3")(job)()
    finally:
        sys.argv = before
    return report(failures, line.multirun)


def _inside(notes: DictConfig) -> Path:
    """The folder of a run. A value in its name, such as ${prompt}, can't lead out of the folder that was typed before it.

    Raises:
        ComposerError: it does, or the name holds a secret.
    """
    from omegaconf import OmegaConf

    from composer.secret import refuse_secrets

    folder, typed = Path(notes.runtime.output_dir), OmegaConf.to_container(notes.overrides, resolve=False)
    for _, key, value in map(argv.split, [*typed["hydra"], *typed["task"]]):
        if key in ("hydra.run.dir", "hydra.sweep.subdir", "output.folder") and value and re.search(r"\$\{(?!oc\.env:)", value):
            root = notes.sweep.dir if key == "hydra.sweep.subdir" else value.strip("'\"").split("${")[0].rpartition("/")[0]
            if not folder.resolve().is_relative_to(Path(root).resolve()):
                leave_nothing(folder)
                raise ComposerError(key, value, f"comes to {folder}, which is not inside {root or 'the current folder'}")
    try:
        refuse_secrets({"output.folder": str(folder)})
    except ComposerError:
        leave_nothing(folder)
        raise
    return folder


def _others(line: Line) -> bool:
    """Whether another launcher or sweeper of Hydra's is to do it, such as joblib or submitit, each job a run of its own."""
    foreign = [word for word in line.overrides if word.lstrip("+").startswith(("hydra/launcher=", "hydra/sweeper="))]
    return any(word != "hydra/launcher=ray" for word in foreign)


def report(failures: list[tuple[str, Exception]], multirun: bool) -> int:
    """A single run fails as its job did; a multirun lists what failed."""
    if failures and not multirun:
        raise failures[0][1]
    for number, error in failures:
        reason = str(error) if isinstance(error, ComposerError) else f"{type(error).__name__}: {error}"
        print(printable(f"compose: job {number}: {reason}"), file=sys.stderr)
    return 1 if failures else 0


def run_job(config: DictConfig, folder: Path, verbose: bool) -> None:
    """Make the pictures of one composed config and say where they are."""
    from composer.config import read
    from composer.execute import execute

    def make() -> Result:
        spec = read(config)
        if speak.manner.quiet:
            spec = replace(spec, callbacks={name: each for name, each in spec.callbacks.items() if name != "progress"})
        return execute(spec, folder, speak.note)

    finished(make, folder, verbose)


def finished(make: Callable[[], Result], folder: Path, verbose: bool) -> Result:
    """Make pictures, write them into a folder and say where they are; of a failure nothing is left."""
    from composer.quiet import hush, speak_up

    speak.manner.run = shown(folder)
    speak_up() if verbose else hush()
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        try:
            result = make()
        except BaseException:
            leave_nothing(folder)
            raise
        paths = result.save(folder)
    where = shown(paths[0]) if len(paths) == 1 else f"{len(paths)} pictures in {shown(paths[0].parent)}"
    told = f"{where}  (seed {result.seeds[0]}, {taken(result.record)}, {result.seconds:.1f} s)"
    facts = {key: result.record[key] for key in ("images", "seconds", "peak_memory", "notes")}
    speak.came_of_it(told, [shown(path) for path in paths], record=shown(folder / "run.json"), **facts)
    return result


def taken(record: Mapping[str, Any]) -> str:
    """How far the denoising went: `20 iterations`, or `4 of 10 steps` where it began from a picture."""
    if record["steps_left_out"]:
        return f"{record['steps'] - record['steps_left_out']} of {record['steps']} steps"
    return f"{record['iterations']} iterations"


def shown(path: Path | str) -> str:
    """A path relative to the current folder where that is shorter."""
    text = str(path)
    return text.replace(f"{Path.cwd()}{os.sep}", "")


def leave_nothing(folder: Path) -> None:
    """Remove the folder that Hydra made for a job that wrote nothing, with the date and `outputs` above it while they are empty."""
    here = Path.cwd()
    for each in (folder, *folder.absolute().parents[:2]):
        if here.is_relative_to(each.absolute()):  # an empty current folder is nobody's to remove
            return
        try:
            each.rmdir()
        except OSError:
            return
