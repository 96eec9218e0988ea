"""The interface of control models: an image is encoded once a run, and adds inputs to each call of the denoiser."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from composer.checkpoints.control_model import ControlModel
from composer.images.pixels import to_unit_pixels

if TYPE_CHECKING:
    from PIL.Image import Image


#: One CPU generator an image.
Generators = tuple[torch.Generator, ...]


class ControlNetwork(ABC):
    """A control model of a run.

    Args:
        model: The loaded model.
        found: What is known of it without its weights.

    Attributes:
        reuses_residuals: Whether the negative branch takes what was computed for the prompt, as in the diffusers
            pipelines that evaluate the branches one after the other.
    """

    reuses_residuals: ClassVar[bool] = False

    def __init__(self, model: nn.Module, found: ControlModel) -> None:
        self.model: Any = model  # of diffusers, whose classes have no type in common
        self.found = found

    @contextmanager
    def attached(self, pipe: Any) -> Iterator[None]:
        """Lend the model what it takes from the pipeline's own models, for one run.

        Args:
            pipe: The diffusers pipeline.

        Yields:
            Nothing.
        """
        yield

    @abstractmethod
    def encode(self, pipe: Any, images: Sequence[Image], generators: Generators) -> Any:
        """Encode the images of a run.

        Args:
            pipe: The diffusers pipeline.
            images: RGB images in the size of the request, one for each of its images.
            generators: One CPU generator an image, which samples the VAE's distribution. They are apart from those of
                the noise, which must not depend on it, and go on from one control model of a run to the next.

        Returns:
            What `residuals` reads.
        """

    @abstractmethod
    def residuals(self, given: Mapping[str, Any], encoded: Any, scale: float) -> dict[str, Any]:
        """Evaluate the model.

        Args:
            given: Inputs of the denoiser by name.
            encoded: The result of `encode`.
            scale: Factor of what is added.

        Returns:
            Further inputs of the denoiser by name: tensors, or lists of them.
        """

    def pixels(self, images: Sequence[Image]) -> Tensor:
        """Convert images to pixels.

        Args:
            images: RGB images of one size.

        Returns:
            `(B, 3, H, W)` in `[0, 1]`, contiguous, on the device and in the dtype of the model.
        """
        return to_unit_pixels(images).contiguous().to(self.model.device, self.model.dtype)


def repeated(rows: Tensor, count: int) -> Tensor:
    """Repeat a batch for the branches that are evaluated together.

    Args:
        rows: `(B, …)`.
        count: Rows of the denoiser's input, a multiple of B.

    Returns:
        `(count, …)`.
    """
    return rows if len(rows) == count else torch.cat([rows] * (count // len(rows)))


def total(first: Any, second: Any) -> Any:
    """Add what two control models return, part by part.

    Args:
        first: A tensor, a list, a tuple or a mapping of tensors, or None.
        second: The like.

    Returns:
        The sum; what one of them lacks is that of the other.
    """
    if first is None or second is None:
        return first if second is None else second
    if isinstance(first, Mapping):
        return {name: total(first.get(name), second.get(name)) for name in {**first, **second}}
    if isinstance(first, (list, tuple)):
        return [total(one, other) for one, other in zip(first, second, strict=True)]
    return first + second
