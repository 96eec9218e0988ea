"""Cheap tensors on the meta device."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import init
from torch.overrides import TorchFunctionMode

#: Functions that fill a tensor with random numbers.
RANDOM = frozenset({init.normal_, init.uniform_})


class CheapMeta(TorchFunctionMode):
    """Make tensors on the meta device without torch's Python versions of the functions.

    `from_pretrained` of transformers makes a model on that device before it reads the weights. torch's Python versions
    of `normal_`, `arange` and `empty_like` import sympy for it, which takes a third of a second, although the tensors
    hold nothing.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in RANDOM:
            tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta:
                return tensor
        if func is torch.arange and str(kwargs.get("device")) == "meta":
            return torch.arange(*args, **{**kwargs, "device": "cpu"}).to("meta")
        if func is torch.empty_like and args[0].is_meta and args[0].is_contiguous():
            return torch.empty(args[0].shape, **{"dtype": args[0].dtype, "device": "meta", **kwargs})
        return func(*args, **kwargs)
