"""LoRA beside the layers of a model, loaded by diffusers and computed by PEFT's layers, and removed without a trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn

from composer.checkpoints.lora_fit import LoraFit, model_key
from composer.compat.lora import loadable_components
from composer.config.lora import is_control, key_of
from composer.errors import ComposerError
from composer.options.adapters.lora_merge import Scales
from composer.system.lazy_imports import bind_to_packages


def adaptable(pipe: Any) -> dict[str, nn.Module]:
    """Return the models of a diffusers pipeline that it can load LoRA for.

    Args:
        pipe: The pipeline.

    Returns:
        Component → model; empty if its class loads no LoRA.
    """
    models = ((name, getattr(pipe, name, None)) for name in loadable_components(pipe))
    return {name: model for name, model in models if isinstance(model, nn.Module)}


@contextmanager
def peft_loras(pipe: Any, fits: Mapping[str, LoraFit]) -> Iterator[None]:
    """Load files into a pipeline; they are unloaded when the context exits.

    Args:
        pipe: The diffusers pipeline.
        fits: Name → file with the layers that it changes.

    Yields:
        Nothing.

    Raises:
        ComposerError: diffusers can't load a file, or would apply a part of it.
    """
    bind_to_packages()
    models = adaptable(pipe)
    before = {name: ModelState(model) for name, model in models.items()}
    attributes = set(vars(pipe))
    try:
        try:
            for name, fit in fits.items():
                _load(pipe, models, name, fit)
        finally:
            for state in before.values():
                state.note_changes()
        yield
    finally:
        pipe.unload_lora_weights()
        for state in before.values():
            state.restore()
        for attribute in set(vars(pipe)) - attributes:
            delattr(pipe, attribute)


def set_peft_scales(pipe: Any, scales: Mapping[str, Scales], component: str | None = None) -> None:
    """Set the factors of loaded files, as diffusers' ``set_adapters`` does.

    Args:
        pipe: The diffusers pipeline.
        scales: Name → factor of each component, for all loaded files.
        component: Only of this component; None for all.
    """
    from diffusers.loaders.lora_base import set_adapters_for_text_encoder

    for part, module in adaptable(pipe).items():
        model = cast(Any, module)  # diffusers' and transformers' models have further methods
        loaded = [name for name in scales if adapter_name(name) in getattr(model, "peft_config", {})]
        if not loaded or component not in (None, part):
            continue
        names, weights = [adapter_name(name) for name in loaded], [scales[name][part] for name in loaded]
        if hasattr(model, "set_adapters"):
            model.set_adapters(names, weights)
        else:
            set_adapters_for_text_encoder(names, model, weights)


def adapter_name(name: str) -> str:
    """Return the name that a LoRA has in PEFT.

    Args:
        name: Its name in the config; empty for the one at the node ``lora`` itself.
    """
    if is_control(name):
        return name.rstrip(".").replace(".", "_")
    return f"lora_{name}" if name else "lora"


class ModelState:
    """What loading changes on a model beside its layers.

    Only what was changed by loading is put back: while the files are attached, transformers marks a model whose
    outputs it captures by hooks, and without the mark it would add its hooks, and so the outputs, once more.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self.attributes = model, dict(vars(model))
        self.gradients = {id(weight): weight.requires_grad for weight in model.parameters()}
        self.training = {id(module): module.training for module in model.modules()}
        self.changed: set[str] = set()

    def note_changes(self) -> None:
        """Take what differs now as changed by loading."""
        missing = object()
        self.changed = {
            name for name, value in vars(self.model).items() if self.attributes.get(name, missing) is not value
        }

    def restore(self) -> None:
        """Put attributes, gradients and modes back as they were; layers are the caller's."""
        for name in self.changed & set(vars(self.model)):
            if name in self.attributes:
                setattr(self.model, name, self.attributes[name])
            else:
                delattr(self.model, name)
        for weight in self.model.parameters():
            weight.requires_grad_(self.gradients.get(id(weight), weight.requires_grad))
        for module in self.model.modules():
            module.training = self.training.get(id(module), module.training)


def _load(pipe: Any, models: Mapping[str, nn.Module], name: str, fit: LoraFit) -> None:
    key, path = key_of(name), fit.file.path
    try:
        if fit.open:
            _refuse_unused(key, pipe, fit)
        pipe.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=adapter_name(name))
    except ComposerError:
        raise
    except Exception as error:  # of many kinds, from the depths of three libraries
        why = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ComposerError(key, path.name, f"can't be applied to this model: {why}") from error
    applied = {match for part, model in models.items() for match in _adapted(part, model, adapter_name(name))}
    expected = {(match.component, model_key(match.module, False)) for match in fit.matches}
    missing = sorted(expected - applied)
    if missing or (not fit.open and applied != expected) or not applied:
        where = f", not to {'.'.join(missing[0])}" if missing else ""
        reason = f"diffusers applies it to {len(applied)} layers of {len(expected)}{where}: use {key}.method=merge"
        raise ComposerError(key, path.name, reason)


def _adapted(component: str, model: nn.Module, adapter: str) -> Iterator[tuple[str, str]]:
    for path, module in model.named_modules():
        if adapter in getattr(module, "lora_A", {}):
            yield component, model_key(path, False)


def _refuse_unused(key: str, pipe: Any, fit: LoraFit) -> None:
    """Refuse a file of which diffusers' conversion of names drops a tensor.

    Each factor is filled with a value of its own, the file is converted, and the values are looked for in the result.
    """
    filled: dict[str, torch.Tensor] = {}
    markers: dict[str, float] = {}
    for layer in (*fit.open, *(match.layer for match in fit.matches)):
        for role, name in layer.tensors.items():
            if role == "alpha":
                filled[name] = torch.tensor(float(layer.rank or 1))  # so that nothing is scaled
            else:
                markers[name] = float(len(markers) + 1)
                filled[name] = torch.full(layer.shapes[role], markers[name])
    if fit.widening is not None:  # by whose names the conversion is chosen
        for name in fit.widening.original_norms:
            markers[name] = float(len(markers) + 1)
            filled[name] = torch.full((1,), markers[name])
    more = {"unet_config": pipe.unet.config} if hasattr(pipe, "unet") else {}
    converted = type(pipe).lora_state_dict(filled, **more)
    tensors = (converted[0] if isinstance(converted, tuple) else converted).values()
    present = {number for tensor in tensors if tensor.dim() > 0 for number in _values_in(tensor)}
    unused = [name for name, number in markers.items() if number not in present]
    if unused:
        reason = f"diffusers would leave out {len(unused)} of its tensors, such as {', '.join(unused[:3])}"
        raise ComposerError(key, fit.file.path.name, reason)


def _values_in(tensor: torch.Tensor) -> list[float]:
    """Values along the first column and row, along which converters join and split."""
    matrix = tensor.float().reshape(tensor.shape[0], -1)
    return [*matrix[:, 0].unique().tolist(), *matrix[0].unique().tolist()]
