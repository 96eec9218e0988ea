"""Arguments of a call, split into the tensors that a converted model takes and the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

#: Side of an input that suffices to trace a model, in latent units. The remainder of a division by it is added, since
#: padding depends on it.
SIDE = 16
#: What may be part of a converted model, beside tensors.
PLAIN = (type(None), bool, int, float, str)


def parted(arguments: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split the arguments of a call.

    Args:
        arguments: Name → value.

    Returns:
        The tensors, those in a dict named ``name.key``, and the other arguments, of a dict what is no tensor.

    Raises:
        ValueError: An argument is neither, such as a list of tensors.
    """
    tensors: dict[str, Tensor] = {}
    fixed: dict[str, Any] = {}
    for name, value in arguments.items():
        if name == "timestep":
            value = torch.as_tensor(value)
            value = value if value.is_floating_point() else value.float()  # integers up to 2²⁴ are exact
        inner = value if isinstance(value, dict) else {name: value}
        plain = {key: item for key, item in inner.items() if not isinstance(item, Tensor)}
        if not all(isinstance(item, PLAIN) for item in plain.values()):
            raise ValueError(f"its argument {name} is a {type(value).__name__}, which no converted model takes")
        of_tensors = {key: item for key, item in inner.items() if key not in plain}
        tensors.update({f"{name}.{key}" if inner is value else name: item for key, item in of_tensors.items()})
        if plain or not of_tensors:  # such as the image_embeds=None of Modular Diffusers' SDXL
            fixed[name] = plain if inner is value else value
    return tensors, fixed


def nested(tensors: dict[str, Tensor], fixed: dict[str, Any]) -> dict[str, Any]:
    """Put the arguments of a call together again.

    Args:
        tensors: Name → tensor, as of ``parted``.
        fixed: The other arguments.

    Returns:
        Name → value.
    """
    arguments = {name: dict(value) if isinstance(value, dict) else value for name, value in fixed.items()}
    for name, tensor in tensors.items():
        outer, _, key = name.partition(".")
        if key:
            arguments.setdefault(outer, {})[key] = tensor
        else:
            arguments[outer] = tensor
    return arguments


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
