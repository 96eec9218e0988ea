"""Arguments of a call, split into the tensors that a converted model takes and the rest."""

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
    """Split the arguments of a call.

    Args:
        arguments: Name → value.

    Returns:
        The tensors, those in a dict named ``name.key``, and the other arguments.

    Raises:
        ValueError: An argument is neither, such as a list of tensors.
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
    """Return the tensors of ``parted`` as arguments of a call.

    Args:
        tensors: Name → tensor.
    """
    found: dict[str, Any] = {}
    for name, each in tensors.items():
        outer, _, key = name.partition(".")
        if key:
            found.setdefault(outer, {})[key] = each
        else:
            found[outer] = each
    return found


def array(tensor: Tensor) -> np.ndarray:
    """Return a tensor as a contiguous array, fp32 if it is floating-point.

    Args:
        tensor: The tensor.
    """
    return (tensor.float() if tensor.is_floating_point() else tensor).detach().contiguous().numpy()


def small(name: str, tensor: Tensor) -> Tensor:
    """Return a part of an input that suffices to trace a model.

    Args:
        name: Name of the input.
        tensor: The input: images ``(B, C, H, W)`` or packed latents ``(B, N, C)``.
    """
    for axis in (2, 3) if tensor.dim() == 4 else (tensor.dim() - 2,) if name in ("hidden_states", "img_ids") else ():
        side = tensor.shape[axis]
        tensor = tensor.narrow(axis, 0, min(side, SIDE + side % SIDE))
    return tensor


def odd(module: nn.Module, tensors: dict[str, Tensor]) -> bool:
    """Whether a UNet must crop on its way up, where sizes do not halve evenly; its forward branches there.

    Args:
        module: The module.
        tensors: The inputs.
    """
    factor = 2 ** getattr(module, "num_upsamplers", 0)
    sample = tensors.get("sample")
    return sample is not None and sample.dim() == 4 and any(side % factor for side in sample.shape[-2:])
