"""Overrides → the composed config, with the names of the options that were chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.config import overrides as argv
from composer.config.hydra_settings import as_nodes, refuse_for_one_run
from composer.config.source_settings import completed, untie
from composer.errors import ComposerError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def compose_config(overrides: list[str], config_dir: str | None = None) -> DictConfig:
    """Overrides → the composed config, without the hydra node."""
    from composer.config.output_folder import folder_of

    config = compose_whole(overrides, config_dir)
    folder_of(config)  # what a run would refuse is refused by whoever asks
    return without_hydra(config)


def compose_whole(overrides: list[str], config_dir: str | None = None) -> DictConfig:
    """Overrides → the composed config with Hydra's own node, which tells the folder and what was chosen."""
    from composer.config.hydra_errors import explained
    from composer.config.hydra_loader import loader

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

    from composer.config.keys import CHOSEN, LISTS, NODES
    from composer.config.output_folder import words_of
    from composer.config.read import mapping
    from composer.config.search_path import refuse_clashes

    choices = notes.runtime.choices
    refuse_clashes(config, choices)
    allow_pickle, typed = "model.allow_pickle", {argv.split(word)[1] for word in words_of(notes)}
    nodes = {group: mapping(group, config.get(group)) for group in ("model", *LISTS)}
    if nodes["model"] and nodes["model"].get("allow_pickle") and allow_pickle not in typed:
        raise ComposerError(allow_pickle, True, "can be said only on the command line, and not by an option file")
    chosen = {group: name for group, name in choices.items() if group in NODES}
    if another := untie(config, notes, typed):
        chosen["model"] = another
    several = {group: [*(nodes[group] or ())] for group in LISTS}
    for group, names in several.items():
        if odd := next((name for name in names if "${" in str(name)), None):
            raise ComposerError(group, odd, "is no name of an option, under which its settings could stand")
    with open_dict(config):
        config[CHOSEN] = chosen | several
