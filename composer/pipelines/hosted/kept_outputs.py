"""Outputs of models that are returned again where a pipeline evaluates a model and nothing comes of it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from diffusers.utils.outputs import BaseOutput
from torch import Tensor


class KeptOutputs:
    """The first and the last output of each evaluation of a step; the first may have more parts, such as a cache."""

    def __init__(self, known: KeptOutputs | None = None) -> None:
        self._known: dict[tuple[str, int, bool], Any] = {} if known is None else dict(known._known)

    def put(self, name: str, number: int, is_first: bool, output: Any) -> None:
        """Keep an output.

        Args:
            name: Component.
            number: Index of the evaluation among those of the component at its step.
            is_first: Whether it is of the first step of a loop.
            output: The output.
        """
        self._known[name, number, is_first] = output

    def get(self, name: str, number: int, is_first: bool) -> tuple[Any] | None:
        """Get an output of the same evaluation of a like step, or else of any step.

        Args:
            name: Component.
            number: Index of the evaluation among those of the component at its step.
            is_first: Whether the step is the first of a loop.

        Returns:
            The output in a tuple; None if there is none.
        """
        keys = ((name, number, is_first), (name, number, not is_first))
        return next(((_separate(self._known[key]),) for key in keys if key in self._known), None)


def _separate(output: Any) -> Any:
    """The same tensors; anything else, such as a cache that the pipeline clears in the end, is copied."""
    if type(output) in (tuple, list):
        return type(output)(map(_separate, output))
    return output if isinstance(output, (Tensor, BaseOutput)) else deepcopy(output)
