"""`composer.compose(…)`: the command line from a script or a notebook."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from composer import argv
from composer.callbacks.base import StepCallback
from composer.errors import ComposerError
from composer.tied import completed, untie
from composer.typed import as_nodes, refuse_for_one_run

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from composer.pipeline import Result


def compose(*overrides: str, **values: Any) -> Result:
    """Make pictures and return them; nothing is written until `Result.save(folder)`.

    Args:
        overrides: as on the command line, `"scheduler=euler"`.
        values: root keys with Python values, `prompt="a cat, sitting"`, `seed=7`; a list of prompts is one batch. A
            picture can be a PIL picture or a list of them instead of a file. `callbacks` can be a list of `StepCallback`s,
            which come after those of the config.

    Raises:
        ComposerError: the request can't be met; its text is the line that the command would print.

    Example:
        >>> composer.compose("task=text2img", prompt="a red cone", seed=7).image.show()
    """
    from composer.config import read
    from composer.execute import execute

    callbacks = values.pop("callbacks") if _are_callbacks(values.get("callbacks")) else ()
    pictures = {key: value for key, value in values.items() if _is_picture(value)}
    words = {**values, **{key: f"(a picture given from Python as {key})" for key in pictures}}
    spec = read(compose_config([*overrides, *overrides_of(words)]))
    return execute(replace(spec, values={**spec.values, **pictures}), more=callbacks)


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


def _are_callbacks(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(each, StepCallback) for each in value)


def _is_picture(value: Any) -> bool:
    """A PIL picture, or a list of nothing else; without importing PIL for those who pass none."""
    several = value if isinstance(value, (list, tuple)) else [value]
    return bool(several) and all(hasattr(each, "getexif") and hasattr(each, "size") for each in several)


def overrides_of(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Python values by key as overrides; `{"guidance": {"scale": 3}}` is `guidance.scale=3`."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from overrides_of(value, f"{above}{name}.")
        else:
            yield override_of(f"{above}{name}", value)


def override_of(key: str, value: Any) -> str:
    """A key and a Python value as one override in Hydra's grammar."""
    return f"{key}={_value(key, value)}"


def _value(key: str, value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_value(key, each) for each in value)}]"
    if isinstance(value, Mapping):
        if value:
            raise ComposerError(key, value, "settings in a list can't be passed: give each by its key, such as 'scheduler.eta=1.0'")
        return "{}"
    return argv.quote(str(value))
