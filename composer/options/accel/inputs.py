"""A call's arguments as the tensors that a converted model takes, and the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

#: Places to an input's sides that are enough to trace a model with; what is left over decides how it is padded, so it
#: stays.
SIDE = 16
#: What may be part of a converted model, beside tensors.
PLAIN = (type(None), bool, int, float, str)


def parted(arguments: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A call's tensors, those in a dict by `name.key`, and what else was given.

    Raises:
        ValueError: an argument that is neither, such as a list of tensors.
    """
    tensors: dict[str, Tensor] = {}
    fixed: dict[str, Any] = {}
    for name, value in arguments.items():
        if name == "timestep":
            value = torch.as_tensor(value)
            value = value if value.is_floating_point() else value.float()  # whole ones up to 2²⁴ stay what they are
        inner = {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
        if inner and all(isinstance(each, Tensor) for each in inner.values()):
            tensors.update(inner)
        elif all(isinstance(each, PLAIN) for each in inner.values()):
            fixed[name] = value
        else:
            raise ValueError(f"its argument {name} is a {type(value).__name__}, which no converted model takes")
    return tensors, fixed


def nested(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """`parted`'s tensors as a call's arguments."""
    found: dict[str, Any] = {}
    for name, each in tensors.items():
        outer, _, key = name.partition(".")
        if key:
            found.setdefault(outer, {})[key] = each
        else:
            found[outer] = each
    return found


def array(tensor: Tensor) -> np.ndarray:
    return (tensor.float() if tensor.is_floating_point() else tensor).detach().contiguous().numpy()


def small(name: str, tensor: Tensor) -> Tensor:
    """Enough of an input to trace a model with: of images a corner, of packed latents the first."""
    for axis in (2, 3) if tensor.dim() == 4 else (tensor.dim() - 2,) if name in ("hidden_states", "img_ids") else ():
        side = tensor.shape[axis]
        tensor = tensor.narrow(axis, 0, min(side, SIDE + side % SIDE))
    return tensor


def odd(module: nn.Module, tensors: dict[str, Tensor]) -> bool:
    """Whether a UNet has to cut on the way up what does not halve evenly on the way down: its forward branches there."""
    factor = 2 ** getattr(module, "num_upsamplers", 0)
    sample = tensors.get("sample")
    return sample is not None and sample.dim() == 4 and any(side % factor for side in sample.shape[-2:])
