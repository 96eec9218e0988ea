"""Which of Hydra's own settings can be typed.

composer runs its jobs itself, so most of them would have no effect; those are refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from composer.config.overrides import split
from composer.errors import ComposerError

RUN_DIR, SWEEP_DIR, OUT = "hydra.run.dir", "hydra.sweep.dir", "output.folder"
SEARCH_PATH = "hydra.searchpath"
#: Settings that the name of an output directory may refer to, as `${hydra.job.…}`.
NAMING = ("hydra.job.name", "hydra.job.config.override_dirname.")
SEVERAL = "is about several runs: add -m"
NO_CALLBACKS = (
    "Hydra's callbacks are not called here: composer's own are callbacks=[…], and `compose list callbacks` shows them"
)
#: Prefix of a key → what to do instead.
INSTEAD = {
    "hydra/launcher": SEVERAL,
    "hydra/sweeper": SEVERAL,
    "hydra.launcher": SEVERAL,
    "hydra.sweeper": SEVERAL,
    "hydra.sweep": SEVERAL,
    "hydra.mode": "several runs need -m",
    SEARCH_PATH: "option files of your own are found by --config-dir DIR",
    "hydra.callbacks": NO_CALLBACKS,
    "hydra/callbacks": NO_CALLBACKS,
    "hydra.verbose": "-v lets the libraries speak",
    "hydra.output_subdir": "config.yaml and run.json are written beside the images",
}


def as_nodes(overrides: Sequence[str]) -> list[str]:
    """Replace `${hydra:…}` by `${hydra.…}` in the names of output directories.

    The first form needs a running Hydra program, the second is read from the config.

    Args:
        overrides: `key=value` words.

    Returns:
        The words, in the same order.
    """
    return [word.replace("${hydra:", "${hydra.") if split(word)[1] in (RUN_DIR, OUT) else word for word in overrides]


def refuse_for_one_run(overrides: Sequence[str]) -> None:
    """Refuse settings that have no effect on a single run.

    Args:
        overrides: `key=value` words.

    Raises:
        ComposerError: There is such a setting, or two output directories are named.
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
    """Whether a key belongs to Hydra's own node.

    Args:
        key: Dotted key, or a group such as `hydra/launcher`.

    Returns:
        True for `hydra` and all keys below it.
    """
    return key.replace("/", ".").split(".")[0].split("@")[0] == "hydra"


def refusal(key: str, value: str | None, manner: str = "a run") -> ComposerError:
    """Create the error for a setting of Hydra's that has no effect.

    Args:
        key: The key that was typed.
        value: Its value, if any.
        manner: What the setting has no effect on, such as `"a run"`.

    Returns:
        The error, which says what to type instead.
    """
    usual = f"has no effect on {manner}: {OUT}=DIR is where its files go, and the rest is composer's"
    reason = next((text for start, text in INSTEAD.items() if key.startswith(start)), usual)
    if reason == SEVERAL and manner != "a run":
        reason = (
            f"chooses how Hydra runs jobs, which has no effect on {manner} of composer's or a look at one: leave it out"
        )
    return ComposerError(key, value, reason)


#: Override that chooses the search.
SEARCH = "hydra/sweeper=optuna"
