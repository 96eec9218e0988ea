"""Load control models; those of the last run stay in memory for the next one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from composer.checkpoints.components import Component
from composer.checkpoints.headers import read_header
from composer.errors import ComposerError
from composer.loading.component_loader import load_override
from composer.loading.load_options import LoadOptions, file_states, override_key
from composer.loading.precision import DtypePlan

#: Models that stay in memory, by their files, dtype and device.
_kept: dict[Any, nn.Module] = {}


def load_control(key: str, component: Component, dtype: torch.dtype, device: torch.device, cache: bool) -> nn.Module:
    """Load a control model, or return the one that is in memory.

    Args:
        key: Config key that names it, for errors.
        component: Where it is.
        dtype: Dtype that it computes in.
        device: Device that it computes on.
        cache: Whether to keep converted weights in the disk cache.

    Returns:
        The model.

    Raises:
        ComposerError: A file is missing or damaged, or a library can't load it.
    """
    identity = _identity(component, dtype, device)
    if identity not in _kept:
        options = LoadOptions(DtypePlan(dtype), device, component.location.variant, cache)
        try:
            model = _load(component, options)
        except (ComposerError, OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
            text = error.reason if isinstance(error, ComposerError) else str(error).strip()
            why = next(iter(text.splitlines()), type(error).__name__)
            why = "some of its weights are missing" if "meta tensor" in why else why
            raise ComposerError(key, component.location.source, f"can't be loaded: {why}") from error
        _kept[identity] = model.to(device)
    return _kept[identity]


def _load(component: Component, options: LoadOptions) -> nn.Module:
    """Load a control model from its directory, or from a single file with settings that its header gave."""
    if not component.folder.is_file():
        model: nn.Module = load_override("controlnet", options, override_key(component))
        return model
    with TemporaryDirectory() as folder:
        described = Path(folder) / "controlnet"
        described.mkdir()
        (described / "config.json").write_text(json.dumps({"_class_name": component.cls, **component.config}))
        model = load_override("controlnet", options, override_key(replace(component, config_source=Path(folder))))
    tensors = read_header(component.folder)
    if surplus := len(tensors) - len(model.state_dict()):
        raise ValueError(f"{surplus} of its {len(tensors)} tensors are of something else")
    return model


def keep_only(components: Iterable[Component], dtype: torch.dtype, device: torch.device) -> None:
    """Drop all models from memory but those of a run.

    Args:
        components: Where the models of the run are.
        dtype: Their dtype.
        device: Their device.
    """
    expected = {_identity(component, dtype, device) for component in components}
    for identity in [identity for identity in _kept if identity not in expected]:
        del _kept[identity]


def clear() -> None:
    """Drop all models from memory."""
    _kept.clear()


def _identity(component: Component, dtype: torch.dtype, device: torch.device) -> Any:
    states = file_states(component.folder) if component.commit is None else ()
    return override_key(component), states, dtype, device
