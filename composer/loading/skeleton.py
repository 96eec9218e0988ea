"""A checkpoint's diffusers pipeline without weights: its class, its scheduler, and components that hold their settings
alone.

Pipeline classes change settings of their scheduler when they are made, and check inputs against their components'
settings. Both can be
had before any weights load.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import diffusers
import torch
from diffusers.configuration_utils import FrozenDict
from diffusers.utils import logging

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.index import INDEX, read_json


def hollow(checkpoint: Checkpoint) -> Any:
    """The pipeline that would hold a checkpoint's components; None where its class can't be made without weights."""
    cls = getattr(diffusers, checkpoint.pipe, None)
    if cls is None or not checkpoint.scheduler:
        return None
    index = _index(checkpoint)
    wanted = inspect.signature(cls).parameters
    parts = {name: _part(checkpoint, index, name, parameter.default) for name, parameter in wanted.items()}
    if "requires_safety_checker" in parts:
        parts["requires_safety_checker"] = False  # so that nothing is said of its absence
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of settings that are changed; the run says them
            return cls(**parts)
    except Exception:  # it wants more of its components than their settings: then only a run can tell
        return None
    finally:
        logging.set_verbosity(verbosity)


def _index(checkpoint: Checkpoint) -> Mapping[str, Any]:
    folder = checkpoint.config_source or checkpoint.path
    return read_json(folder / INDEX) if (folder / INDEX).is_file() else {}


def _part(checkpoint: Checkpoint, index: Mapping[str, Any], name: str, default: Any) -> Any:
    """A component without weights, None where it has no settings that are read here, or a plain setting of the
    pipeline.
    """
    entry = index.get(name)
    if name == "scheduler":
        return getattr(diffusers, checkpoint.classes["scheduler"]).from_config(dict(checkpoint.scheduler))
    if name not in checkpoint.classes:
        plain = entry is not None and not isinstance(entry, list)
        return entry if plain else None if default is inspect.Parameter.empty else default
    component_overrides = checkpoint.component_overrides.get(name)
    library = (
        component_overrides.library if component_overrides else entry[0] if isinstance(entry, list) else "diffusers"
    )
    config = checkpoint.configs.get(name)
    return None if config is None else _empty(getattr(_module(library), checkpoint.classes[name], None), config)


def _module(library: str) -> Any:
    return (
        import_module(library)
        if library in ("diffusers", "transformers")
        else import_module(f"diffusers.pipelines.{library}")
    )


def _empty(cls: Any, config: Mapping[str, Any]) -> Any:
    """An instance of a model's class with its settings and no layers; None for what is no model."""
    if not (isinstance(cls, type) and issubclass(cls, torch.nn.Module)):
        return None
    made = cls.__new__(cls)
    torch.nn.Module.__init__(made)
    if hasattr(cls, "config_class") and cls.config_class is not None:
        made.config = cls.config_class.from_dict(dict(config))
    else:
        parameters = inspect.signature(cls.__init__).parameters
        usual = {name: each.default for name, each in parameters.items() if each.default is not inspect.Parameter.empty}
        made._internal_dict = FrozenDict(
            {**usual, **{key: value for key, value in config.items() if not key.startswith("_")}}
        )
    return made
