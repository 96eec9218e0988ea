"""`compose config`: the composed config, with where each value comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from composer.config import overrides as argv
from composer.config.compose import compose_whole, without_hydra
from composer.config.hydra_loader import MAIN, hydra_1_3, loader
from composer.config.keys import CHOSEN, OF_SWEEPS
from composer.config.node_data import node_to_dict
from composer.config.search_path import conf_folders, groups, packaged_conf
from composer.config.secrets import refuse_secrets
from composer.config.source_settings import completed

TYPED = "typed"


def listing(overrides: list[str], config_dir: str | None) -> tuple[dict[str, Any], str]:
    """Each key with its value and the option file, or `typed`, that it comes from: as plain data, and as text."""
    config = compose_whole(overrides, config_dir)
    files = _origins(overrides, config_dir)
    tree = node_to_dict(without_hydra(config))
    tree.pop(CHOSEN)
    refuse_secrets(tree)
    chosen = groups(conf_folders(config_dir))
    typed = [key for _, key, _ in map(argv.split, argv.prepare(overrides)) if key not in chosen]
    rows = [(key, value, _from(key, files, typed)) for key, value in _rows(tree)]
    rows = [row for row in rows if row[0].split(".")[0] not in OF_SWEEPS or row[2] == TYPED]  # no part of a run
    texts = [(f"{key} = {_shown(value)}", place) for key, value, place in rows]
    width = min(max(len(text) for text, _ in texts), 60)
    facts = {key: {"value": value, "from": place} for key, value, place in rows}
    return facts, "\n".join(f"{text:{width}}  # {place}" for text, place in texts)


def _rows(node: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values; a list, and a mapping of nothing, is one value."""
    for name, value in node.items():
        key = f"{above}.{name}" if above else str(name)
        if isinstance(value, Mapping) and value:
            yield from _rows(value, key)
        else:
            yield key, value


def _shown(value: Any) -> str:
    return OmegaConf.to_yaml(OmegaConf.create([value])).strip().removeprefix("- ").replace("\n", " ")


def _from(key: str, files: Mapping[str, str], typed: list[str]) -> str:
    """Where the last say about a key was: what was typed comes after all files."""
    if any(key == each or key.startswith(f"{each}.") for each in typed):
        return TYPED
    while key and key not in files:
        key = key.rpartition(".")[0]
    return files.get(key, "composer")


def _origins(overrides: list[str], config_dir: str | None) -> dict[str, str]:
    """Dotted key → the option file that set it last, in the order in which Hydra lays one over the other."""
    from hydra.types import RunMode

    found: dict[str, str] = {}
    made = loader(config_dir)
    with hydra_1_3():
        for default in made.compute_defaults_list(MAIN, completed(argv.prepare(overrides)), RunMode.RUN).defaults:
            path = default.config_path or ""
            loaded = made.repository.load_config(path) if path else None
            if loaded is None or path.startswith("hydra/"):
                continue
            tree = node_to_dict(loaded.config)
            place = _place(loaded, path, config_dir)
            for key, _ in _rows({name: value for name, value in tree.items() if name not in ("defaults", "hydra")}):
                found[f"{default.package}.{key}" if default.package else key] = place
    return found


def _place(loaded: Any, path: str, config_dir: str | None) -> str:
    """An option file as people know it: `scheduler/euler.yaml`, with the folder where that is not composer's."""
    name = f"{path}.yaml" if not path.endswith(".yaml") else path
    folder = Path(str(loaded.path).removeprefix("file://"))
    folders = conf_folders(config_dir)
    own = next((each for each in folders if (each / name).is_file()), folder)
    return name if own == packaged_conf() else str(own / name)
