"""``model_index.json`` and the JSON files of components, read with the standard library only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from composer.checkpoints.modular_index import MODULAR, plain_index
from composer.errors import ComposerError

INDEX = "model_index.json"
#: Packages that may define a checkpoint's components, besides the folders of diffusers.pipelines.
_LIBRARIES = ("diffusers", "transformers")
#: Kind of component → its JSON files, of which it needs one.
CONFIG_FILES = {
    "model": ("config.json",),
    "scheduler": ("scheduler_config.json",),
    "tokenizer": ("tokenizer_config.json",),
    "guider": ("guider_config.json",),
    "processor": ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"),
}
#: Word in a component's name or class → its kind, if it is no model.
_KIND_BY_WORD = {
    "guider": "guider",
    "tokenizer": "tokenizer",
    "scheduler": "scheduler",
    "processor": "processor",
    "feature": "processor",
}


def read_index(key: str, source: str, folder: Path, at_hub: bool = False) -> dict[str, Any]:
    """Read the index of a checkpoint.

    Args:
        key: Config key that named the checkpoint, for errors.
        source: The key's value.
        folder: Directory of the checkpoint.
        at_hub: Whether the directory is a download from the hub.

    Returns:
        The content of ``model_index.json``; without one, that of ``modular_model_index.json`` in the same form.

    Raises:
        ComposerError: There is no index, it can't be read, or it names a class of another package.
    """
    if not any((folder / name).is_file() for name in (INDEX, MODULAR)):
        raise ComposerError(key, source, _no_index(folder, at_hub))
    index = stored_index(folder, key, source)
    check_libraries(key, source, index)
    return index


def stored_index(folder: Path, key: str = "model.source", source: str = "") -> dict[str, Any]:
    """Read the index in a directory, of either kind.

    Args:
        folder: Directory of the checkpoint.
        key: Config key that named the checkpoint, for errors.
        source: The key's value.

    Returns:
        The content of ``model_index.json``, or that of ``modular_model_index.json`` in the same form; empty without
        both.

    Raises:
        ComposerError: The index can't be read.
    """
    if (folder / INDEX).is_file():
        return read_json(folder / INDEX, key)
    if (folder / MODULAR).is_file():
        return plain_index(key, source or str(folder), folder, read_json(folder / MODULAR, key))
    return {}


def components_of(index: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the components of an index with library and class.

    Other entries of the index are settings of the pipeline class.

    Args:
        index: Content of ``model_index.json``.

    Returns:
        Component name → library and class name.
    """
    return {name: (entry[0], entry[1]) for name, entry in index.items() if _is_pair(entry) and all(entry)}


def pipeline_settings(index: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the pipeline class in an index.

    Args:
        index: Content of ``model_index.json``.

    Returns:
        Name → value; neither components nor what diffusers notes of itself.
    """
    return {name: value for name, value in index.items() if not _is_pair(value) and not name.startswith("_")}


def has_pipeline(name: str) -> bool:
    """Whether diffusers has a pipeline class of this name, according to its source text; imports nothing.

    Args:
        name: Name of the class.
    """
    spec = find_spec("diffusers")
    return bool(spec and spec.origin and f'"{name}"' in Path(spec.origin).read_text("utf-8"))


def omitted_components(index: Mapping[str, Any]) -> list[str]:
    """List the components that a checkpoint was saved without.

    Args:
        index: Content of ``model_index.json``.
    """
    return [name for name, entry in index.items() if _is_pair(entry) and not all(entry)]


def check_libraries(key: str, source: str, index: Mapping[str, Any]) -> None:
    """Refuse a checkpoint with components of other packages, since diffusers would import what it names.

    Args:
        key: Config key that named the checkpoint, for errors.
        source: The key's value.
        index: Content of ``model_index.json``.

    Raises:
        ComposerError: A component comes from another package than diffusers or transformers.
    """
    for name, entry in index.items():
        library = entry[0] if _is_pair(entry) else None
        if library is None or library in _LIBRARIES or (isinstance(library, str) and _is_pipeline(library)):
            continue
        allowed = " and ".join(_LIBRARIES)
        reason = f"its {name} is to come from {library}, and a checkpoint can choose only classes of {allowed}"
        raise ComposerError(key, source, reason)


def component_json(folder: Path, key: str = "model.source") -> dict[str, Any] | None:
    """Read the JSON settings of a component of any kind.

    Args:
        folder: Directory of the component.
        key: Config key that named the checkpoint, for errors.

    Returns:
        The settings; None if the directory holds no such file.

    Raises:
        ComposerError: The file can't be read.
    """
    names = [name for names in CONFIG_FILES.values() for name in names]
    return next((read_json(folder / name, key) for name in names if (folder / name).is_file()), None)


def component_kind(name: str, cls: str) -> str:
    """Return the kind of a component: ``model``, ``scheduler``, ``tokenizer`` or ``processor`` (of images).

    Args:
        name: Name of the component or of its directory.
        cls: Name of its class.
    """
    return next((kind for word, kind in _KIND_BY_WORD.items() if word in f"{name} {cls}".lower()), "model")


def read_json(path: Path, key: str = "model.source") -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Args:
        path: The file.
        key: Config key that named the checkpoint, for errors.

    Returns:
        The object.

    Raises:
        ComposerError: The file can't be read, or holds something else.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ComposerError(key, path, f"can't be read: {error}") from None
    if not isinstance(content, dict):
        raise ComposerError(key, path, "can't be read: it holds no mapping")
    return content


def _is_pair(entry: Any) -> bool:
    """Whether an entry names a component: library and class, or nulls for an omitted component."""
    if not isinstance(entry, list) or len(entry) != 2:
        return False
    return entry == [None, None] or any(isinstance(part, str) for part in entry)


def _no_index(folder: Path, at_hub: bool) -> str:
    missing = f"this repository holds no {INDEX}" if at_hub else f"there is no {INDEX} in this folder"
    return f"{missing}: it is no checkpoint in diffusers' format{_describe_contents(folder)}"


def _describe_contents(folder: Path) -> str:
    """Describe a folder without an index, with advice."""
    config = component_json(folder)
    if config is not None and (cls := config.get("_class_name") or next(iter(config.get("architectures") or ()), None)):
        return f", but a component alone ({cls}): name it as model.components.NAME=FOLDER"
    if (folder / "adapter_config.json").is_file():
        return ", but a LoRA in PEFT's format: name a checkpoint, and this one as lora=FOLDER"
    files = sorted(file.name for file in folder.glob("*.safetensors")) if folder.is_dir() else []
    return f"; to load a single file of it, name the file: {folder / files[0]}" if files else ""


def _is_pipeline(name: str) -> bool:
    """Whether diffusers has a folder of pipelines of this name, such as ``stable_diffusion``; imports nothing."""
    spec = find_spec("diffusers")
    return bool(spec and name.isidentifier() and (Path(spec.origin or "").parent / "pipelines" / name).is_dir())
