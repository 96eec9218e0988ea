"""Composition of overrides into a config, with the names of the chosen options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.config import overrides as argv
from composer.config.hydra_settings import as_nodes, refuse_for_one_run
from composer.config.source_settings import completed, untie
from composer.errors import ComposerError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def compose_config(overrides: list[str], config_dir: str | None = None) -> DictConfig:
    """Compose overrides.

    Args:
        overrides: `key=value` words as they are typed.
        config_dir: Additional directory of option files.

    Returns:
        The composed config without Hydra's own node, with the names of the options under `chosen`.

    Raises:
        ComposerError: The overrides do not compose, or a run would refuse its output directory.
    """
    from composer.config.output_folder import folder_of

    config = compose_with_hydra_node(overrides, config_dir)
    folder_of(config)  # what a run would refuse is refused by whoever asks
    return without_hydra(config)


def compose_with_hydra_node(overrides: list[str], config_dir: str | None = None) -> DictConfig:
    """Compose overrides and keep Hydra's own node, which holds the output directory and the chosen options.

    Args:
        overrides: `key=value` words as they are typed.
        config_dir: Additional directory of option files.

    Returns:
        The composed config.

    Raises:
        ComposerError: The overrides do not compose, or set something that has no effect on a single run.
    """
    from composer.config.hydra_errors import translate_errors
    from composer.config.hydra_loader import loader

    prepared = as_nodes(completed(argv.prepare(overrides)))
    refuse_for_one_run(prepared)
    with translate_errors(prepared, config_dir):
        return loader(config_dir).compose(prepared)


def without_hydra(config: DictConfig) -> DictConfig:
    """Replace Hydra's own node by the names of the chosen options.

    Args:
        config: A composed config with Hydra's node; it is changed in place.

    Returns:
        The same config.

    Raises:
        ComposerError: As `record_choices`.
    """
    from omegaconf import open_dict

    record_choices(config, config.hydra)
    with open_dict(config):
        del config["hydra"]
    return config


def record_choices(config: DictConfig, notes: DictConfig) -> None:
    """Write the names of the chosen options into a config, under the key `chosen`.

    Args:
        config: The composed config; it is changed in place.
        notes: Hydra's own node, which does not list the options of list groups.

    Raises:
        ComposerError: Two plugins offer a chosen option, or a file sets what only the command line may set.
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
        raise ComposerError(allow_pickle, True, "can be set only on the command line, and not by an option file")
    chosen = {group: name for group, name in choices.items() if group in NODES}
    if another := untie(config, notes, typed):
        chosen["model"] = another
    several = {group: [*(nodes[group] or ())] for group in LISTS if nodes[group] or group != "metric"}  # as before it
    for group, names in several.items():
        if odd := next((name for name in names if "${" in str(name)), None):
            raise ComposerError(group, odd, "is no name of an option, under which its settings could be given")
    with open_dict(config):
        config[CHOSEN] = chosen | several
