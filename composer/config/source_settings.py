"""Settings that an option file of `model` gives with its checkpoint belong to that one: they go when another source
takes its place.
"""

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
#: The option for a checkpoint of one's own.
LOCAL = "local"
#: What is said of one checkpoint alone.
TIED = ("name", "variants", "recommended")


def completed(overrides: Sequence[str]) -> list[str]:
    """Overrides in which `model.source=` without `model=` means `model=local`."""
    keys = {key for prefix, key, _ in map(split, overrides) if prefix != "~"}
    return [f"model={LOCAL}", *overrides] if SOURCE in keys and "model" not in keys else list(overrides)


def untie(config: DictConfig, notes: DictConfig, typed: Collection[str]) -> str | None:
    """Take from `config.model` what its option says of another source than the one it has now; the option that it then
    is.

    Args:
        notes: Hydra's own node, which tells the option and where it was found.
        typed: keys. Whoever types `model=` beside the source wants that model's steps and scale.
    """
    from omegaconf import OmegaConf, open_dict

    from composer.config.node_data import node_to_dict

    node = node_to_dict(config.model) if OmegaConf.is_dict(config.get("model")) else {}
    own = _option(notes.runtime.choices.get("model"), notes)
    if not own.get("source") or own["source"] in (node.get("source"), "???"):
        return None
    plain = _option(LOCAL, notes)
    with open_dict(config):
        for name in TIED:
            if node.get(name) == own.get(name) and not (name == "recommended" and "model" in typed):
                config.model.pop(name, None)
                if name in plain:
                    config.model[name] = plain[name]
    return LOCAL


def _option(name: Any, notes: DictConfig) -> Mapping[str, Any]:
    """What an option file of `model` holds, which Hydra has read already."""
    import yaml

    folders = [Path(each.path) for each in notes.runtime.config_sources if each.provider == "composer"]
    folders.append(packaged_conf())
    files = (folder / "model" / f"{name}.yaml" for folder in folders)
    found = next((file for file in files if file.is_file()), None)
    tree = yaml.safe_load(found.read_text("utf-8-sig")) if found else None
    return with_base(found, tree, folders) if found and isinstance(tree, dict) else {}
