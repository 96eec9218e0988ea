"""Numbers that left the range of floats never become an image: diffusers would write a black one and warn in a log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from composer.errors import ComposerError

#: Said where a model computes in 16 bits.
ADVICE = "16 bits may be too few: try precision=fp32, or precision.{name}=fp32 for this component alone"


class NonFinite(ComposerError):
    """A model computed NaN or infinity. key: the component."""

    exit_code = 1


def finite(tensor: Tensor) -> bool:
    """One reduction: a sum in fp32 is finite where every term is. Waits for the device."""
    return isfinite(_sum(tensor))


def check(name: str, what: str, *tensors: Tensor | None) -> None:
    """Raises NonFinite where one of them is not finite; `what` a component computed."""
    if not all(finite(tensor) for tensor in tensors if tensor is not None):
        raise NonFinite(name, None, f"{what} holds numbers that are not finite (NaN or infinity)")


@contextmanager
def advised(models: Mapping[str, torch.nn.Module]) -> Iterator[None]:
    """Say of numbers that are not finite what may help, where one of these models computes in 16 bits."""
    try:
        yield
    except NonFinite as error:
        weights = (next(model.parameters(), None) for model in models.values())
        if not any(weight is not None and weight.element_size() < 4 for weight in weights):
            raise
        raise NonFinite(error.key, error.value, f"{error.reason}: {ADVICE.format(name=error.key)}") from None


class Watch:
    """Looks at the latents after each of `total` steps. On an accelerator, where looking means waiting, it is told at
    the end.

    name: of the component that predicts.
    """

    def __init__(self, name: str, total: int) -> None:
        self.name, self.total = name, total
        self.sums: list[Tensor] = []

    def __call__(self, index: int, prediction: Tensor, latents: Tensor) -> None:
        if latents.device.type != "cpu":
            self.sums.append(_sum(latents))
        elif not finite(latents):
            self._refuse(index, "the scheduler made of its prediction" if finite(prediction) else "its prediction")

    def settle(self) -> None:
        """Once all steps are done."""
        if self.sums:
            good = torch.stack(self.sums).isfinite().tolist()
            self.sums.clear()
            if not all(good):
                self._refuse(good.index(False), "what came of its prediction")

    def _refuse(self, index: int, what: str) -> Any:
        check_at = f"{what} at step {index + 1}/{self.total}"
        raise NonFinite(self.name, None, f"{check_at} holds numbers that are not finite (NaN or infinity)")


def _sum(tensor: Tensor) -> Tensor:
    return tensor.sum(dtype=torch.float32)
