"""A checkpoint's diffusers pipeline without weights: class, scheduler, and components with their settings alone.

Pipeline classes change settings of their scheduler in the constructor, and check inputs against the settings of their
components. A skeleton shows both before weights are loaded.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import diffusers
import torch
from diffusers.utils import logging

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.index import stored_index
from composer.compat.attributes import set_config
from composer.loading.modular import modular_skeleton


def create_skeleton(checkpoint: Checkpoint) -> Any:
    """Construct the pipeline of a checkpoint without weights.

    Args:
        checkpoint: The checkpoint.

    Returns:
        The diffusers pipeline; None if its class can't be constructed without weights.
    """
    cls = getattr(diffusers, checkpoint.pipe, None)
    if cls is None or not checkpoint.scheduler:
        return None
    index = _index(checkpoint)
    if checkpoint.blocks:
        names = [*checkpoint.classes]
        return modular_skeleton(checkpoint, {name: _argument(checkpoint, index, name, None) for name in names})
    parameters = inspect.signature(cls).parameters
    arguments = {name: _argument(checkpoint, index, name, entry.default) for name, entry in parameters.items()}
    if "requires_safety_checker" in arguments:
        arguments["requires_safety_checker"] = False  # else its absence is a warning
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of changed settings, for which the run warns
            return cls(**arguments)
    except Exception:  # it needs more of its components than their settings, which only a run can provide
        return None
    finally:
        logging.set_verbosity(verbosity)


def _index(checkpoint: Checkpoint) -> Mapping[str, Any]:
    folder = checkpoint.config_source or checkpoint.path
    return stored_index(folder)


def _argument(checkpoint: Checkpoint, index: Mapping[str, Any], name: str, default: Any) -> Any:
    """Return a component without weights, None if it has no settings, or a setting of the pipeline."""
    entry = index.get(name)
    if name == "scheduler":
        return getattr(diffusers, checkpoint.classes["scheduler"]).from_config(dict(checkpoint.scheduler))
    if name not in checkpoint.classes:
        plain = entry is not None and not isinstance(entry, list)
        return entry if plain else None if default is inspect.Parameter.empty else default
    override = checkpoint.component_overrides.get(name)
    library = override.library if override else entry[0] if isinstance(entry, list) else "diffusers"
    config = checkpoint.configs.get(name)
    return None if config is None else _empty(getattr(_module(library), checkpoint.classes[name], None), config)


def _module(library: str) -> Any:
    known = library in ("diffusers", "transformers")
    return import_module(library if known else f"diffusers.pipelines.{library}")


def _empty(cls: Any, config: Mapping[str, Any]) -> Any:
    """Create a model with its settings and without layers; None for other components."""
    if not (isinstance(cls, type) and issubclass(cls, torch.nn.Module)):
        return None
    model: Any = cls.__new__(cls)
    torch.nn.Module.__init__(model)
    config_class = getattr(cls, "config_class", None)
    if config_class is not None:
        model.config = config_class.from_dict(dict(config))
    else:
        parameters = inspect.signature(cls.__init__).parameters
        defaults = {name: entry.default for name, entry in parameters.items() if entry.default is not entry.empty}
        settings = {key: value for key, value in config.items() if not key.startswith("_")}
        set_config(model, {**defaults, **settings})
        _set_ratios(model, {**defaults, **settings})
    return model


def _set_ratios(model: Any, settings: Mapping[str, Any]) -> None:
    """Set pixels and frames for a latent, which LTX-Video's VAE computes where its settings do not have them."""
    scaling = settings.get("spatio_temporal_scaling")
    for name, patch in (("spatial", "patch_size"), ("temporal", "patch_size_t")):
        key = f"{name}_compression_ratio"
        if scaling and patch in settings and settings.get(key, 0) is None:
            setattr(model, key, settings[patch] * 2 ** sum(scaling))
