"""Provenance of config values, as `compose config` shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from composer.config import overrides as argv
from composer.config.compose import compose_with_hydra_node, without_hydra
from composer.config.hydra_loader import MAIN, hydra_1_3, loader
from composer.config.keys import CHOSEN, OF_SWEEPS
from composer.config.node_data import node_to_dict
from composer.config.recipes import Recipe, recipe_name
from composer.config.search_path import conf_folders, groups, packaged_conf
from composer.config.secrets import refuse_secrets
from composer.config.source_settings import completed

TYPED = "typed"


def listing(overrides: list[str], config_dir: str | None) -> tuple[dict[str, Any], str]:
    """List all keys of a composed config with their values and origins.

    Args:
        overrides: `key=value` words as they are typed.
        config_dir: Additional directory of option files.

    Returns:
        Key → `{"value": …, "from": …}`, where `from` is an option file or `typed`; and the same as text, a key a line.

    Raises:
        ComposerError: The overrides do not compose, or a value looks like a secret.
    """
    if recipe_name(overrides) is not None:
        return _of_steps(overrides, config_dir)
    config = compose_with_hydra_node(overrides, config_dir)
    files = _origins(overrides, config_dir)
    tree = node_to_dict(without_hydra(config))
    tree.pop(CHOSEN)
    refuse_secrets(tree)
    chosen = groups(conf_folders(config_dir))
    typed = [key for _, key, _ in map(argv.split, argv.prepare(overrides)) if key not in chosen]
    rows = [(key, value, _from(key, files, typed)) for key, value in _rows(tree)]
    rows = [row for row in rows if row[0].split(".")[0] not in OF_SWEEPS or row[2] == TYPED]  # no part of a run
    texts = [(f"{key} = {_shown(value)}", origin) for key, value, origin in rows]
    width = min(max(len(text) for text, _ in texts), 60)
    facts = {key: {"value": value, "from": origin} for key, value, origin in rows}
    return facts, "\n".join(f"{text:{width}}  # {origin}" for text, origin in texts)


def _of_steps(overrides: list[str], config_dir: str | None) -> tuple[dict[str, Any], str]:
    """The same of all steps of a recipe, each key below its step's name; of tools only their own keys."""
    recipe = Recipe(overrides, config_dir)
    facts: dict[str, Any] = {}
    texts: list[str] = []
    for step in recipe.words(recipe.prepare(overrides)):
        with step.named():
            rows, text = listing(list(step.words), config_dir)
        kept = [key for key in rows if step.tool is None or key.startswith("tool.")]
        facts |= {f"{step.name}.{key}": rows[key] for key in kept}
        texts += [f"{step.name}.{line}" for line, key in zip(text.splitlines(), rows) if key in kept]
    return facts, "\n".join(texts)


def _rows(node: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values; a list and an empty mapping are one value."""
    for name, value in node.items():
        key = f"{above}.{name}" if above else str(name)
        if isinstance(value, Mapping) and value:
            yield from _rows(value, key)
        else:
            yield key, value


def _shown(value: Any) -> str:
    return OmegaConf.to_yaml(OmegaConf.create([value])).strip().removeprefix("- ").replace("\n", " ")


def _from(key: str, files: Mapping[str, str], typed: list[str]) -> str:
    """Origin of a key's final value; typed values override all files."""
    if any(key == prefix or key.startswith(f"{prefix}.") for prefix in typed):
        return TYPED
    while key and key not in files:
        key = key.rpartition(".")[0]
    return files.get(key, "composer")


def _origins(overrides: list[str], config_dir: str | None) -> dict[str, str]:
    """Dotted key → the option file that set it last, in the order in which Hydra merges them."""
    from hydra.types import RunMode

    origins: dict[str, str] = {}
    config_loader = loader(config_dir)
    with hydra_1_3():
        for default in config_loader.compute_defaults_list(
            MAIN, completed(argv.prepare(overrides)), RunMode.RUN
        ).defaults:
            path = default.config_path or ""
            loaded = config_loader.repository.load_config(path) if path else None
            if loaded is None or path.startswith("hydra/"):
                continue
            tree = node_to_dict(loaded.config)
            origin = _origin_of(loaded, path, config_dir)
            for key, _ in _rows({name: value for name, value in tree.items() if name not in ("defaults", "hydra")}):
                origins[f"{default.package}.{key}" if default.package else key] = origin
    return origins


def _origin_of(loaded: Any, path: str, config_dir: str | None) -> str:
    """Short name of an option file: `scheduler/euler.yaml`, with its directory unless it is composer's own."""
    name = f"{path}.yaml" if not path.endswith(".yaml") else path
    folder = Path(str(loaded.path).removeprefix("file://"))
    folders = conf_folders(config_dir)
    owner = next((candidate for candidate in folders if (candidate / name).is_file()), folder)
    return name if owner == packaged_conf() else str(owner / name)
