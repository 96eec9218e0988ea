"""`composer.compose(…)`: the command line from a script or a notebook."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from composer import argv
from composer.callbacks.base import StepCallback
from composer.errors import ComposerError
from composer.notebook import interruptible
from composer.tied import completed, untie
from composer.typed import as_nodes, refuse_for_one_run

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from composer.held import Held
    from composer.pipeline import Result
    from composer.spec import RunSpec


@interruptible()
def compose(*overrides: str, config_dir: str | None = None, **values: Any) -> Result:
    """Make images and return them; nothing is written until `Result.save(folder)`.

    Args:
        overrides: as on the command line, `"scheduler=euler"`.
        config_dir: a folder with option files of your own, as --config-dir.
        values: keys with Python values, `prompt="a cat, sitting"`, `seed=7`; a list of prompts is one batch, and a mapping
            holds settings, `scheduler={"eta": 1.0}`. Numbers may be numpy's or torch's. An image can be a PIL image, or an
            array or tensor of uint8 or of floats 0–1, instead of a file; or a list of them. `callbacks` can be a list of
            `StepCallback`s, which come after those of the config.

    Returns:
        The images, and how they were made. In a notebook it shows itself.

    Raises:
        ComposerError: the request can't be met; its text is the line that the command would print.

    Example:
        >>> composer.compose("task=text2img", prompt="a red cone", seed=7).image.show()
    """
    from composer.execute import execute

    spec, callbacks = request_of(overrides, values, config_dir)
    return execute(spec, more=callbacks)


def load(*overrides: str, config_dir: str | None = None, **values: Any) -> Held:
    """Load a pipeline and hold it, to be called again and again with other prompts, seeds, sizes, …

    Args:
        overrides, config_dir, values: as for `compose`; what a call does not say otherwise.

    Returns:
        The pipeline; call it with what differs.

    Raises:
        ComposerError: as `compose`, before any weights are loaded.

    Example:
        >>> pipe = composer.load("model=sd15", "precision=fp16")
        >>> images = [pipe(prompt="a red cone", seed=seed).image for seed in range(4)]
    """
    from composer.held import Held

    return Held(overrides, values, config_dir)


def request_of(
    overrides: Sequence[str], values: Mapping[str, Any], config_dir: str | None = None
) -> tuple[RunSpec, Sequence[StepCallback]]:  # fmt: skip
    """What a call from Python asks for, and the callbacks that it brought.

    Raises:
        ComposerError: a key or value that can't be.
    """
    from composer.config import read
    from composer.given import given

    found = given(overrides, values)
    spec = read(compose_config(found.words, folder_of(config_dir)))
    return replace(spec, values={**spec.values, **found.images}), found.callbacks


def folder_of(config_dir: str | os.PathLike[str] | None) -> str | None:
    """A folder of option files, as it was given.

    Raises:
        ComposerError: it is not there.
    """
    if config_dir is not None and not os.path.isdir(config_dir):
        raise ComposerError("config_dir", config_dir, "there is no such folder")
    return None if config_dir is None else os.fspath(config_dir)


def compose_config(overrides: list[str], config_dir: str | None = None) -> DictConfig:
    """Overrides → the composed config, without the hydra node."""
    from composer.folder import folder_of

    config = compose_whole(overrides, config_dir)
    folder_of(config)  # what a run would refuse is refused by whoever asks
    return without_hydra(config)


def compose_whole(overrides: list[str], config_dir: str | None = None) -> DictConfig:
    """Overrides → the composed config with Hydra's own node, which tells the folder and what was chosen."""
    from composer.composing import loader
    from composer.explain import explained

    prepared = as_nodes(completed(argv.prepare(overrides)))
    refuse_for_one_run(prepared)
    with explained(prepared, config_dir):
        return loader(config_dir).compose(prepared)


def without_hydra(config: DictConfig) -> DictConfig:
    """What the user asked for alone, with the names of the options."""
    from omegaconf import open_dict

    settle(config, config.hydra)
    with open_dict(config):
        del config["hydra"]
    return config


def settle(config: DictConfig, notes: DictConfig) -> None:
    """Have a config tell the options that it is made of; `notes` is Hydra's own node, which leaves lists of them out.

    Raises:
        ComposerError: an option that two plugins offer, or what only the command line may say.
    """
    from omegaconf import open_dict

    from composer.config import CHOSEN, LISTS, NODES, mapping
    from composer.folder import words_of
    from composer.plugins import refuse_clashes

    choices = notes.runtime.choices
    refuse_clashes(config, choices)
    pickles, typed = "model.allow_pickle", {argv.split(word)[1] for word in words_of(notes)}
    nodes = {group: mapping(group, config.get(group)) for group in ("model", *LISTS)}
    if nodes["model"] and nodes["model"].get("allow_pickle") and pickles not in typed:
        raise ComposerError(pickles, True, "can be said only on the command line, and not by an option file")
    chosen = {group: name for group, name in choices.items() if group in NODES}
    if another := untie(config, notes, typed):
        chosen["model"] = another
    several = {group: [*(nodes[group] or ())] for group in LISTS}
    for group, names in several.items():
        if odd := next((name for name in names if "${" in str(name)), None):
            raise ComposerError(group, odd, "is no name of an option, under which its settings could stand")
    with open_dict(config):
        config[CHOSEN] = chosen | several
