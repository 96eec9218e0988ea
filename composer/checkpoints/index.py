"""model_index.json and the json files of components: what a checkpoint is made of. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from composer.errors import ComposerError

INDEX = "model_index.json"
#: What a repository of diffusers' modular pipelines has instead.
MODULAR = "modular_model_index.json"
#: Packages that a checkpoint's parts may come from, beside the folders of diffusers.pipelines.
_LIBRARIES = ("diffusers", "transformers")
#: Kind of component → the json files of which it needs one.
JSON_OF = {
    "model": ("config.json",),
    "scheduler": ("scheduler_config.json",),
    "tokenizer": ("tokenizer_config.json",),
    "processor": ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"),
}
#: What says that a component is no model: a word in its class or in its name.
_WORDS = {"tokenizer": "tokenizer", "scheduler": "scheduler", "processor": "processor", "feature": "processor"}


def read_index(key: str, source: str, folder: Path, at_hub: bool = False) -> dict[str, Any]:
    """A checkpoint's index.

    Raises:
        ComposerError: there is none, or it can't be read, or it names a class of another package.
    """
    if not (folder / INDEX).is_file():
        raise ComposerError(key, source, _no_index(folder, at_hub))
    index = read_json(folder / INDEX, key)
    check_libraries(key, source, index)
    return index


def components_of(index: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Component → library and class. Only a pair of texts is one: a pipeline's own settings stand in the same file."""
    return {name: (entry[0], entry[1]) for name, entry in index.items() if _is_pair(entry) and all(entry)}


def has_pipeline(name: str) -> bool:
    """Whether diffusers has a pipeline class of this name, by the text that lists its classes; nothing is imported."""
    found = find_spec("diffusers")
    return bool(found and found.origin and f'"{name}"' in Path(found.origin).read_text("utf-8"))


def left_out(index: Mapping[str, Any]) -> list[str]:
    """Components that the checkpoint was saved without."""
    return [name for name, entry in index.items() if _is_pair(entry) and not all(entry)]


def check_libraries(key: str, source: str, index: Mapping[str, Any]) -> None:
    """Refuse a checkpoint whose parts come from any other package: diffusers would import what it names.

    Raises:
        ComposerError: with the package.
    """
    for name, entry in index.items():
        library = entry[0] if _is_pair(entry) else None
        if library is None or library in _LIBRARIES or (isinstance(library, str) and _is_pipeline(library)):
            continue
        reason = f"its {name} is to come from {library}, and a checkpoint can choose only classes of {' and '.join(_LIBRARIES)}"
        raise ComposerError(key, source, reason)


def component_json(folder: Path, key: str = "model.source") -> dict[str, Any] | None:
    """A component's json, whatever its kind calls it."""
    names = [name for names in JSON_OF.values() for name in names]
    return next((read_json(folder / name, key) for name in names if (folder / name).is_file()), None)


def kind_of(name: str, cls: str) -> str:
    """What a component is: model, scheduler, tokenizer or processor (of images). name: of the component or its folder."""
    return next((kind for word, kind in _WORDS.items() if word in f"{name} {cls}".lower()), "model")


def read_json(path: Path, key: str = "model.source") -> dict[str, Any]:
    """A json file that holds an object.

    Raises:
        ComposerError: it does not, or can't be read.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ComposerError(key, path, f"can't be read: {error}") from None
    if not isinstance(found, dict):
        raise ComposerError(key, path, "can't be read: it holds no mapping")
    return found


def _is_pair(entry: Any) -> bool:
    """Two texts, or nulls for a component that was left out; a number beside a text is no setting either, and is
    refused.
    """
    return (
        isinstance(entry, list)
        and len(entry) == 2
        and (entry == [None, None] or any(isinstance(each, str) for each in entry))
    )


def _no_index(folder: Path, at_hub: bool) -> str:
    where = "this repository" if at_hub else "this folder"
    if (folder / MODULAR).is_file():
        return f"{where} holds a modular pipeline ({MODULAR}), which can't be run here: a checkpoint with a {INDEX} is needed"
    missing = f"this repository holds no {INDEX}" if at_hub else f"there is no {INDEX} in this folder"
    return f"{missing}: it is no checkpoint in diffusers' format{_instead(folder)}"


def _instead(folder: Path) -> str:
    """What lies in a folder without an index, and how to name it."""
    config = component_json(folder)
    if config is not None and (cls := config.get("_class_name") or next(iter(config.get("architectures") or ()), None)):
        return f", but a component alone ({cls}): name it as model.components.NAME=FOLDER"
    if (folder / "adapter_config.json").is_file():
        return ", but a LoRA in PEFT's format, and composer loads no LoRA"
    files = sorted(file.name for file in folder.glob("*.safetensors")) if folder.is_dir() else []
    return f"; to load a single file of it, name the file: {folder / files[0]}" if files else ""


def _is_pipeline(name: str) -> bool:
    """Whether diffusers has a folder of this name among its pipelines, such as `stable_diffusion`; nothing is imported."""
    found = find_spec("diffusers")
    return bool(found and name.isidentifier() and (Path(found.origin or "").parent / "pipelines" / name).is_dir())
