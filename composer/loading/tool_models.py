"""Models of transformers for tools, with what prepares their inputs: loaded as components of checkpoints are."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from composer.checkpoints.components import Component
from composer.checkpoints.fingerprints import file_states
from composer.errors import ComposerError
from composer.loading.component_loader import load_override
from composer.loading.kept_models import kept
from composer.loading.load_options import LoadOptions, override_key
from composer.loading.precision import DTYPES, DtypePlan
from composer.system.library_logs import disable_progress_bars
from composer.system.run_lock import in_turn

#: Name of the component in errors of loaders.
_NAME = "tool"
#: Directories of an image processor beside a model, in checkpoints in diffusers' format.
_BESIDE = ("feature_extractor", "image_processor")
_PREPARES_IMAGES = ("preprocessor_config.json", "processor_config.json")


@in_turn
def check_model(key: str, component: Component, known: Collection[str], processor: str) -> bool:
    """Refuse a model that a tool can't use; weights that are here are compared with the model's layers.

    Args:
        key: Config key that names it, for errors.
        component: Where it is.
        known: Classes that the tool can use, and names of mappings of transformers that hold more.
        processor: Class of transformers that loads what prepares its inputs.

    Returns:
        True.

    Raises:
        ComposerError: It is of another class, needs code of its own, or can't be loaded.
    """
    classes = sorted(_classes(known))
    if component.library != "transformers" or component.cls not in classes:
        why = "which it can't use"
        if "auto_map" in component.config:
            why = "which is code of its repository: only classes of transformers are run"
        raise ComposerError(key, component.location.source, f"is a {component.cls}, {why}", classes)
    if component.commit is None:  # the weights of others may not be downloaded yet
        _load(key, component, LoadOptions(DtypePlan(torch.float32), torch.device("meta"), None, False))
        load_processor(key, component, processor)
    return True


@in_turn
def load_model(key: str, component: Component, processor: str, dtype: str, device: str) -> tuple[Any, Any]:
    """Load a model, or return the one that is in memory.

    Args:
        key: Config key that names it, for errors.
        component: Where it is.
        processor: As for `check_model`.
        dtype: Name of the dtype that it computes in.
        device: Name of the device.

    Returns:
        What prepares its inputs, and the model. Both are shared: nothing may write to them.

    Raises:
        ComposerError: It can't be loaded.
    """

    def load() -> tuple[Any, Any]:
        options = LoadOptions(DtypePlan(DTYPES[dtype]), torch.device(device), component.location.variant, False)
        return load_processor(key, component, processor), _load(key, component, options).to(device).eval()

    states = file_states(component.folder) if component.commit is None else ()
    return kept((override_key(component), states, processor, dtype, device), load)


def _load(key: str, component: Component, options: LoadOptions) -> Any:
    disable_progress_bars()
    with _errors(key, component):
        return load_override(_NAME, options, override_key(component))


def on_device(inputs: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """Move the inputs of a model to its device, and images to its dtype.

    Args:
        inputs: As a processor returns them.
        model: The model.

    Returns:
        Tensors by name.
    """
    tensors = ((name, value) for name, value in inputs.items() if isinstance(value, torch.Tensor))
    return {
        name: value.to(model.device, model.dtype if value.is_floating_point() else value.dtype)
        for name, value in tensors
    }


def load_processor(key: str, component: Component, processor: str) -> Any:
    """Load a tokenizer, an image processor, or both. No code of a repository is run.

    Args:
        key: Config key that names the model, for errors.
        component: Where the model is.
        processor: As for `check_model`.

    Returns:
        The object.

    Raises:
        ComposerError: It can't be loaded.
    """
    cls = getattr(importlib.import_module("transformers"), processor)
    where, subfolder, revision = component.location.source, component.subfolder, component.commit
    if component.commit is None:
        where, subfolder = str(_processor_folder(component.folder)), ""
    with _errors(key, component):
        return cls.from_pretrained(where, subfolder=subfolder, revision=revision, trust_remote_code=False)


def _processor_folder(folder: Path) -> Path:
    candidates = [folder, *(folder.parent / name for name in _BESIDE)]
    has_images = (one for one in candidates if any((one / name).is_file() for name in _PREPARES_IMAGES))
    return next(has_images, folder)


def _classes(known: Collection[str]) -> Iterator[str]:
    from transformers.models.auto import modeling_auto

    for name in known:
        mapping = getattr(modeling_auto, name, None)
        for value in [name] if mapping is None else mapping.values():
            yield from [value] if isinstance(value, str) else value


@contextmanager
def _errors(key: str, component: Component) -> Iterator[None]:
    """Errors of loaders in one line, with the key of the tool."""
    try:
        yield
    except (ComposerError, OSError, ValueError, RuntimeError, KeyError, ImportError, AttributeError) as error:
        text = error.reason if isinstance(error, ComposerError) else str(error).strip()
        why = next(iter(text.splitlines()), type(error).__name__)
        raise ComposerError(key, component.location.source, f"can't be loaded: {why}") from error
