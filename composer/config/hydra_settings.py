"""What may be typed of Hydra's own settings. composer runs its jobs itself, so that most of them would do nothing:
those are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from composer.config.overrides import split
from composer.errors import ComposerError

if TYPE_CHECKING:
    pass

RUN_DIR, SWEEP_DIR, OUT = "hydra.run.dir", "hydra.sweep.dir", "output.folder"
SEARCH_PATH = "hydra.searchpath"
#: Settings of a job that the name of a folder may hold, as `${hydra.job.…}`.
NAMING = ("hydra.job.name", "hydra.job.config.override_dirname.")
SEVERAL = "is about several runs: add -m"
#: Beginnings of keys → what to do instead.
INSTEAD = {
    "hydra/launcher": SEVERAL,
    "hydra/sweeper": SEVERAL,
    "hydra.launcher": SEVERAL,
    "hydra.sweeper": SEVERAL,
    "hydra.sweep": SEVERAL,
    "hydra.mode": "several runs need -m",
    SEARCH_PATH: "option files of your own are found by --config-dir DIR",
    "hydra.callbacks": "Hydra's callbacks are not called here: composer's own are callbacks=[…], and `compose list callbacks` shows them",
    "hydra/callbacks": "Hydra's callbacks are not called here: composer's own are callbacks=[…], and `compose list callbacks` shows them",
    "hydra.verbose": "-v lets the libraries speak",
    "hydra.output_subdir": "config.yaml and run.json lie beside the images",
}


def as_nodes(overrides: Sequence[str]) -> list[str]:
    """With `${hydra:…}`, which asks a running Hydra program, as `${hydra.…}`, which asks the config, in the names of
    folders.
    """
    return [word.replace("${hydra:", "${hydra.") if split(word)[1] in (RUN_DIR, OUT) else word for word in overrides]


def refuse_for_one_run(overrides: Sequence[str]) -> None:
    """Refuse what has no effect on a single run.

    Raises:
        ComposerError: such a setting, or two folders.
    """
    values = {key: value or "" for _, key, value in map(split, overrides)}
    folders = {key: values[key] for key in (RUN_DIR, OUT) if key in values}
    for key, value in values.items():
        names_folder = key.startswith(NAMING) and any("${hydra.job." in folder for folder in folders.values())
        if is_hydras(key) and key != RUN_DIR and not names_folder:
            raise refusal(key, value)
    if len(set(folders.values())) > 1:
        raise ComposerError(OUT, folders[OUT], f"and {RUN_DIR}={folders[RUN_DIR]} name two folders: type one of them")


def is_hydras(key: str) -> bool:
    return key.replace("/", ".").split(".")[0].split("@")[0] == "hydra"


def refusal(key: str, value: str | None, manner: str = "a run") -> ComposerError:
    """That a setting of Hydra's does nothing here, and what to type instead."""
    usual = f"has no effect on {manner}: {OUT}=DIR is where its files go, and the rest is composer's"
    reason = next((text for start, text in INSTEAD.items() if key.startswith(start)), usual)
    if reason == SEVERAL and manner != "a run":
        reason = (
            f"chooses how Hydra runs jobs, which has no effect on {manner} of composer's or a look at one: leave it out"
        )
    return ComposerError(key, value, reason)


#: The one sweeper that is ours.
SEARCH = "hydra/sweeper=optuna"
