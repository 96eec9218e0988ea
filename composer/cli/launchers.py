"""Third-party launchers and sweepers of Hydra, such as joblib and submitit: each job is a separate run under Hydra."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.config import overrides as argv
from composer.config.command_line import ParsedArgs
from composer.config.hydra_errors import translate_errors
from composer.config.hydra_settings import OUT, RUN_DIR, SEARCH_PATH, SWEEP_DIR, refusal
from composer.config.keys import OF_SWEEPS
from composer.config.output_folder import allowed, leave_nothing, typed_folder
from composer.config.source_settings import completed
from composer.errors import ComposerError, suggest

if TYPE_CHECKING:
    from hydra._internal.hydra import Hydra
    from omegaconf import DictConfig

    from composer.config.hydra_loader import Loader

#: composer's own launcher.
RAY = "hydra/launcher=ray"
SUBDIR = "hydra.sweep.subdir"
GROUPS = ("hydra/launcher", "hydra/sweeper")
#: Option → the package that brings it.
PACKAGES = {
    "submitit_local": "hydra-submitit-launcher", "submitit_slurm": "hydra-submitit-launcher",
    "joblib": "hydra-joblib-launcher", "rq": "hydra-rq-launcher", "ax": "hydra-ax-sweeper",
    "nevergrad": "hydra-nevergrad-sweeper",
}  # fmt: skip


def is_requested(line: ParsedArgs) -> bool:
    """Test whether a command line names a third-party launcher or sweeper.

    Args:
        line: The command line.

    Returns:
        Whether it does.
    """
    return any(argv.split(word)[1] in GROUPS for word in line.overrides if word.lstrip("+") != RAY)


def run(line: ParsedArgs) -> int:
    """Hand the jobs to the launcher or sweeper.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: It is not installed, or a setting has no effect with it.
    """
    overrides = completed(argv.prepare(line.overrides, multirun=True))
    _refuse_without_effect(overrides)
    with translate_errors(overrides, line.config_dir):
        from composer.config.hydra_loader import MAIN, loader

        config_loader = loader(line.config_dir)
        _refuse_missing(overrides, config_loader)
        with _as_main(config_loader) as hydra:
            hydra.multirun(MAIN, _job(line.verbose), [*overrides, "hydra.mode=MULTIRUN"])
    return 0


def _job(verbose: bool) -> Callable[[DictConfig], None]:
    """Return the function that the launcher calls for each job, maybe in another process."""

    def job(config: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig

        from composer.cli.process import configure_process
        from composer.cli.single_run import run_job
        from composer.config.compose import record_choices

        configure_process(verbose)  # a launcher may have started this process
        notes: Any = HydraConfig.get()  # a DictConfig, annotated as the class whose fields it has
        folder = Path(notes.runtime.output_dir)  # the launcher has made it
        try:
            record_choices(config, notes)
            key, typed = typed_folder(notes, (SUBDIR,))
            run_job(config, allowed(folder, key, typed, f"{notes.sweep.dir}/" if key else None))
        except BaseException:
            leave_nothing((folder, *folder.parents[:2]))
            raise

    return job


def _refuse_without_effect(overrides: Sequence[str]) -> None:
    for _, key, value in map(argv.split, overrides):
        if key in (OUT, RUN_DIR):
            raise ComposerError(
                key, value, f"has no effect under a launcher or sweeper of Hydra's: {SWEEP_DIR}=DIR is where files go"
            )
        if key == SEARCH_PATH:
            raise refusal(key, value)
        if key.split(".")[0] in OF_SWEEPS:
            raise ComposerError(
                key, value, "is about composer's own sweeps, and has no effect under a launcher or sweeper of Hydra's"
            )


def _refuse_missing(overrides: Sequence[str], loader: Loader) -> None:
    from composer.config.hydra_loader import hydra_1_3

    for _, group, name in map(argv.split, overrides):
        if group in GROUPS and name:
            with hydra_1_3():
                installed = loader.get_group_options(group)
            if name not in installed:
                package = PACKAGES.get(name)
                reason = (
                    f"is not installed: pip install {package}"
                    if package
                    else f"there is no such option.{suggest(name, PACKAGES)}"
                )
                raise ComposerError(
                    group, name, reason, sorted({*installed, "ray" if group == GROUPS[0] else "optuna"})
                )


@contextmanager
def _as_main(loader: Loader) -> Iterator[Hydra]:
    """Act as Hydra's main program: launchers look for it, and composing stays composer's in their processes too."""
    from hydra import version
    from hydra._internal.hydra import Hydra
    from hydra.core.global_hydra import GlobalHydra

    version.setbase("1.3")
    registry = GlobalHydra.instance()
    before = registry.hydra
    registry.hydra = hydra = Hydra("compose", loader)
    try:
        yield hydra
    finally:
        registry.hydra = before
