"""Encoded prompts of one run, so that decoding does not encode the same texts again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from torch.utils._pytree import tree_map_only

#: Methods of pipelines that encode texts; the first that a class has is used.
METHODS = ("encode_prompt", "_encode_prompt")


class TextMemo:
    """Remembers what the text encoders of a run's pipelines returned, by the content of all arguments."""

    def __init__(self) -> None:
        self.known: dict[Hashable, Any] = {}
        self.kept: list[Any] = []  # arguments that are known by their identity

    def attach(self, name: str, pipe: Any) -> None:
        """Let a pipeline object of this run use the memo.

        Args:
            name: Distinguishes pipelines of one run.
            pipe: The pipeline; the method is set on this object.
        """
        method = next((method for method in METHODS if hasattr(pipe, method)), None)
        if method is not None:
            setattr(pipe, method, self._remembering(name, getattr(pipe, method)))

    def _remembering(self, name: str, own: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(own)
        def encode(*args: Any, **keywords: Any) -> Any:
            key = name, self._key(args), self._key(keywords)  # before the call: Z-Image writes into its prompts
            if key in self.known:
                return tree_map_only(Tensor, torch.clone, self.known[key])
            encoded = own(*args, **keywords)
            self.known[key] = tree_map_only(Tensor, torch.clone, encoded)
            return encoded

        return encode

    def _key(self, value: Any) -> Hashable:
        if value is None or isinstance(value, (str, bytes, bool, int, float, torch.dtype, torch.device)):
            return type(value).__name__, value
        if isinstance(value, (list, tuple)):
            return type(value).__name__, *map(self._key, value)
        if isinstance(value, dict):
            return "dict", *((name, self._key(entry)) for name, entry in sorted(value.items()))
        if isinstance(value, Tensor):
            data = (
                value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
                if value.numel()
                else b""
            )
            return "tensor", str(value.dtype), tuple(value.shape), hashlib.sha256(data).hexdigest()
        if isinstance(value, Image):
            return "image", value.mode, value.size, hashlib.sha256(value.tobytes()).hexdigest()
        self.kept.append(value)
        return "object", id(value)
