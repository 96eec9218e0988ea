"""Settings of a `model` option that belong to its checkpoint, and are dropped when another source is chosen."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.config.catalogue import with_base
from composer.config.overrides import split
from composer.config.search_path import packaged_conf

if TYPE_CHECKING:
    from omegaconf import DictConfig

SOURCE = "model.source"
#: Option for a checkpoint of the user's own.
LOCAL = "local"
#: Settings that belong to one checkpoint alone.
TIED = ("name", "variants", "recommended", "size")


def completed(overrides: Sequence[str]) -> list[str]:
    """Add `model=local` where `model.source=` is typed without `model=`.

    Args:
        overrides: `key=value` words.

    Returns:
        The completed words.
    """
    keys = {key for prefix, key, _ in map(split, overrides) if prefix != "~"}
    return [f"model={LOCAL}", *overrides] if SOURCE in keys and "model" not in keys else list(overrides)


def untie(config: DictConfig, notes: DictConfig, typed: Collection[str]) -> str | None:
    """Remove settings of a model option's checkpoint from a config that has another source.

    Args:
        config: The composed config; it is changed in place.
        notes: Hydra's own node, which holds the option and the directories it was found in.
        typed: Keys that were typed. With `model` among them, that model's recommended steps and scale are kept.

    Returns:
        Name of the option that the model then has, or `None` if nothing was removed.
    """
    from omegaconf import OmegaConf, open_dict

    from composer.config.node_data import node_to_dict

    node = node_to_dict(config.model) if OmegaConf.is_dict(config.get("model")) else {}
    shipped = _option(notes.runtime.choices.get("model"), notes)
    if not shipped.get("source") or shipped["source"] in (node.get("source"), "???"):
        return None
    plain = _option(LOCAL, notes)
    with open_dict(config):
        for name in TIED:
            if node.get(name) == shipped.get(name) and not (name == "recommended" and "model" in typed):
                config.model.pop(name, None)
                if name in plain:
                    config.model[name] = plain[name]
    return LOCAL


def _option(name: Any, notes: DictConfig) -> Mapping[str, Any]:
    """Content of an option file of `model`, which Hydra has already read."""
    import yaml

    folders = [Path(source.path) for source in notes.runtime.config_sources if source.provider == "composer"]
    folders.append(packaged_conf())
    files = (folder / "model" / f"{name}.yaml" for folder in folders)
    path = next((file for file in files if file.is_file()), None)
    tree = yaml.safe_load(path.read_text("utf-8-sig")) if path else None
    return with_base(path, tree, folders) if path and isinstance(tree, dict) else {}
