"""Load single components; models that some pipeline still holds are shared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any
from weakref import WeakValueDictionary

import torch
from safetensors.torch import load_file

from composer.checkpoints.component_folder import variants, weight_files
from composer.checkpoints.index import components_of, stored_index
from composer.errors import ComposerError
from composer.loading import converted, integrity, quantization
from composer.loading.load_options import LoadOptions, OverrideKey, file_states
from composer.loading.meta_tensors import CheapMeta

#: Libraries whose classes a checkpoint may name.
LIBRARIES = ("diffusers", "transformers")
SHAPES_DIFFER = "its weights are of other shapes than its config.json says: they are of two models"
#: Path → how often a component was read from it.
loaded: Counter[str] = Counter()
#: Models that some pipeline holds, by their files and load options.
_live_models: WeakValueDictionary[Any, torch.nn.Module] = WeakValueDictionary()


def clear() -> None:
    """Forget which models pipelines hold, so that the next pipeline loads its own."""
    _live_models.clear()


def load_models(
    folder: Path, excluded: set[str], options: LoadOptions, safetensors: bool | None
) -> dict[str, torch.nn.Module]:
    """Load the models of a checkpoint directory.

    Models that some pipeline still holds are shared. Linked directories count as one model.

    Args:
        folder: Directory in diffusers' format.
        excluded: Components that are not loaded.
        options: How to load.
        safetensors: Whether only safetensors files are read; None also allows pickles.

    Returns:
        Component name → model.

    Raises:
        ComposerError: Weights are missing, or of other shapes than the settings.
    """
    return {
        name: _load_own(name, folder / name, library, cls, options, safetensors)
        for name, (library, cls) in components_of(stored_index(folder)).items()
        if name not in excluded and library in LIBRARIES and (folder / name / "config.json").is_file()
        if issubclass(import_class(library, cls), torch.nn.Module)
    }


def _load_own(
    name: str, folder: Path, library: str, cls: str, options: LoadOptions, safetensors: bool | None
) -> torch.nn.Module:
    variant = options.variant if options.variant in variants([folder]) else None
    # without safetensors files, diffusers would try and report on stderr that it failed
    safe = safetensors if weight_files(folder, variant) else False
    return _load_shared(name, folder, library, cls, options, variant, safe)


def load_override(name: str, options: LoadOptions, key: OverrideKey) -> Any:
    """Load a component from elsewhere; models in local directories are shared like a checkpoint's own.

    Args:
        name: Name of the component.
        options: How to load.
        key: What identifies the component.

    Returns:
        The component: a model, scheduler, tokenizer or image processor.

    Raises:
        ComposerError: The component can't be loaded.
    """
    library, cls, where, subfolder, revision, variant, described = key
    try:
        if described is not None:
            return _load_single_file(name, options, library, cls, Path(where), described)
        if revision is None and Path(where).is_dir() and issubclass(import_class(library, cls), torch.nn.Module):
            return _load_shared(name, Path(where, subfolder), library, cls, options, variant)
        return _load_component(options.dtypes.of(name), library, cls, where, subfolder, revision, variant)
    except ComposerError as error:
        config_key = f"model.components.{name}" if error.key == "model.source" else error.key
        raise ComposerError(config_key, error.value, error.reason, error.allowed) from error


def _load_single_file(
    name: str, options: LoadOptions, library: str, cls: str, file: Path, described: str
) -> torch.nn.Module:
    """Load a component from a single file, or share it; a GGUF file's weights stay quantised."""
    dtype, storage = options.dtypes.of(name), options.dtypes.storage(name)
    key = file_states(file), library, cls, dtype, options.device, described, options.offloaded, storage
    model = _live_models.get(key)
    if model is None:
        loaded[str(file)] += 1
        try:
            read = _read_single_file(name, file, library, cls, dtype, storage, described)
        # diffusers converts any keys, also those that it does not know
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            reason = f"does not hold the weights of this {cls}: some are missing, or it is of another model"
            raise ComposerError(f"model.components.{name}", file, reason) from error
        integrity.require_all_weights(str(file), integrity.unloaded_parameters(read))
        model = to_device(quantization.apply_storage(storage, read, dtype), options.device).eval()
        _live_models[key] = model
    return model


def _read_single_file(
    name: str, file: Path, library: str, cls: str, dtype: torch.dtype, storage: str | None, described: str
) -> torch.nn.Module:
    """Read a component as diffusers converts it, or a text encoder in the layout of its library."""
    component_class = import_class(library, cls)
    if library == "diffusers":
        arguments = quantization.loading_arguments(storage, dtype)
        return component_class.from_single_file(
            str(file), config=described, subfolder=name, torch_dtype=dtype, **arguments
        )
    config = component_class.config_class.from_pretrained(described, subfolder=name)
    model, info = component_class.from_pretrained(
        None, config=config, state_dict=load_file(file), dtype=dtype, output_loading_info=True
    )
    integrity.require_all_weights(str(file), info["missing_keys"])
    return model


def _load_shared(
    name: str, folder: Path, library: str, cls: str, options: LoadOptions, variant: str | None,
    safetensors: bool | None = True,
) -> torch.nn.Module:  # fmt: skip
    """Return a model that some pipeline still holds, or load it."""
    dtype, storage = options.dtypes.of(name), options.dtypes.storage(name)
    key = file_states(folder), library, cls, dtype, options.device, variant, options.offloaded, storage
    model = _live_models.get(key)
    if model is None:
        if options.device.type != "meta":
            loaded[str(folder)] += 1
        read = _read_model(folder, library, cls, dtype, storage, options, variant, safetensors)
        model = _live_models[key] = to_device(quantization.apply_storage(storage, read, dtype), options.device)
    return model


def _read_model(
    folder: Path, library: str, cls: str, dtype: torch.dtype, storage: str | None, options: LoadOptions,
    variant: str | None, safetensors: bool | None,
) -> torch.nn.Module:  # fmt: skip
    """Read a model from its files, or from converted ones in the disk cache."""
    read = partial(_load_component, dtype, library, cls, subfolder="", revision=None)
    if options.device.type == "meta":
        return read(str(folder), variant=variant, more={"device_map": "meta"}, safetensors=safetensors)
    arguments = quantization.loading_arguments(storage, dtype)
    if options.cache_converted and safetensors and not arguments:  # a library that quantises reads the files itself
        cached = converted.cached_dir_or_source(folder, library, dtype, variant, read)
        if cached != folder:
            model = converted.read_converted(cached, library, cls, dtype, partial(read, variant=None))
            if model is not None:
                return model
    return read(str(folder), variant=variant, more=arguments, safetensors=safetensors)


def load_component(dtype: torch.dtype, component_class: Any, folder: Path, safetensors: bool | None) -> Any:
    """Load a model of a class that no checkpoint names by its library alone.

    Args:
        dtype: Its dtype.
        component_class: Its class.
        folder: Its directory.
        safetensors: Whether only safetensors files are read; None also allows pickles.

    Returns:
        The model.

    Raises:
        ComposerError: Weights are missing, or of other shapes than the settings.
    """
    return _load_class(component_class, dtype, str(folder), "", None, None, safetensors=safetensors)


def _load_component(
    dtype: torch.dtype, library: str, cls: str, where: str, subfolder: str, revision: str | None, variant: str | None,
    more: Mapping[str, Any] = MappingProxyType({}), safetensors: bool | None = True,
) -> Any:  # fmt: skip
    component_class = import_class(library, cls)
    return _load_class(component_class, dtype, where, subfolder, revision, variant, more, safetensors)


def _load_class(
    component_class: Any, dtype: torch.dtype, where: str, subfolder: str, revision: str | None, variant: str | None,
    more: Mapping[str, Any] = MappingProxyType({}), safetensors: bool | None = True,
) -> Any:  # fmt: skip
    from_pretrained = component_class.from_pretrained
    arguments: dict[str, Any] = {"subfolder": subfolder, "revision": revision}
    if not issubclass(component_class, torch.nn.Module):
        return from_pretrained(where, **arguments)
    arguments.update(torch_dtype=dtype, variant=variant, use_safetensors=safetensors, **more)
    try:
        with CheapMeta():
            model, info = from_pretrained(where, output_loading_info=True, **arguments)
    except (ValueError, RuntimeError) as error:
        if not shapes_differ(error):
            raise
        raise ComposerError("model.source", where, SHAPES_DIFFER) from None
    integrity.require_all_weights(where, info["missing_keys"])
    setattr(model, integrity.UNUSED_KEYS, tuple(info["unexpected_keys"]))
    return model.eval()


def import_class(library: str, name: str) -> Any:
    """Import a class of a library.

    Args:
        library: Name of the library.
        name: Name of the class.

    Returns:
        The class, whose constructors diffusers and transformers do not declare in a common type.

    Raises:
        ImportError: The installed version has no such class.
    """
    module = import_module(library)
    cls = getattr(module, name, None)
    if cls is None:
        raise ImportError(f"{library} {getattr(module, '__version__', '')} has no {name}")
    return cls


def to_device(thing: Any, device: torch.device) -> Any:
    """Move a model or pipeline to a device.

    Weights are read on the CPU, where moving would only take the time to visit all of them.

    Args:
        thing: Model or pipeline.
        device: The device.

    Returns:
        The same object.
    """
    return thing if device.type == "cpu" or getattr(thing, "device", None) == device else thing.to(device)


def shapes_differ(error: Exception) -> bool:
    """Whether diffusers, transformers or accelerate raised an error for weights of other shapes than their model's.

    Args:
        error: The error.
    """
    return any(words in str(error) for words in ("expected shape", "ignore_mismatched_sizes", "this looks incorrect"))
