"""Refusal of values that are not finite: diffusers would make a black image of them and warn in a log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from typing import NoReturn

import torch
from torch import Tensor

from composer.errors import ComposerError

#: Advice where a model computes in 16 bits.
ADVICE = "16 bits may be too few: try precision=fp32, or precision.{name}=fp32 for this component alone"


class NonFinite(ComposerError):
    """A model computed NaN or infinity. `key` is the component."""

    exit_code = 1


def is_finite(tensor: Tensor) -> bool:
    """Test a tensor by one reduction: its sum in fp32 is finite if every element is. Waits for the device.

    Args:
        tensor: Any floating-point tensor.

    Returns:
        Whether the sum of all elements is finite.
    """
    return isfinite(_sum(tensor))


def check_finite(name: str, description: str, *tensors: Tensor | None) -> None:
    """Refuse values that are not finite.

    Args:
        name: Component that computed them.
        description: What they are, for the message.
        *tensors: Tensors to test.

    Raises:
        NonFinite: One of them is not finite.
    """
    if not all(is_finite(tensor) for tensor in tensors if tensor is not None):
        raise NonFinite(name, None, f"{description} holds numbers that are not finite (NaN or infinity)")


@contextmanager
def advise_precision(models: Mapping[str, torch.nn.Module]) -> Iterator[None]:
    """Add advice to a `NonFinite` error if one of the models computes in 16 bits.

    Args:
        models: Component name → model.

    Yields:
        Nothing.

    Raises:
        NonFinite: The same error, with advice.
    """
    try:
        yield
    except NonFinite as error:
        weights = (next(model.parameters(), None) for model in models.values())
        if not any(weight is not None and weight.element_size() < 4 for weight in weights):
            raise
        raise NonFinite(error.key, error.value, f"{error.reason}: {ADVICE.format(name=error.key)}") from None


class FiniteWatch:
    """Tests the latents after each step; on an accelerator, where a test waits for the device, only in the end.

    Args:
        name: Component that predicts.
        total: Number of iterations.
    """

    def __init__(self, name: str, total: int) -> None:
        self.name, self.total = name, total
        self.totals: list[Tensor] = []

    def __call__(self, index: int, prediction: Tensor, latents: Tensor) -> None:
        """Test one step.

        Args:
            index: Iteration, from 0.
            prediction: Guided prediction of the step.
            latents: Latents after the step.

        Raises:
            NonFinite: The latents are on the CPU and not finite.
        """
        if latents.device.type != "cpu":
            self.totals.append(_sum(latents))
        elif not is_finite(latents):
            cause = "the scheduler made of its prediction" if is_finite(prediction) else "its prediction"
            self._refuse(index, cause)

    def flush(self) -> None:
        """Test the steps that are left, once all are done.

        Raises:
            NonFinite: Latents on an accelerator were not finite.
        """
        if self.totals:
            finite = torch.stack(self.totals).isfinite().tolist()
            self.totals.clear()
            if not all(finite):
                self._refuse(finite.index(False), "what came of its prediction")

    def _refuse(self, index: int, cause: str) -> NoReturn:
        step = f"{cause} at step {index + 1}/{self.total}"
        raise NonFinite(self.name, None, f"{step} holds numbers that are not finite (NaN or infinity)")


def _sum(tensor: Tensor) -> Tensor:
    return tensor.sum(dtype=torch.float32)
