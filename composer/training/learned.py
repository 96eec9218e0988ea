"""What a method of training learns, and the file that it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from torch import Tensor, nn

from composer.pipelines.pipeline import Pipeline
from composer.training.spec import TrainSpec


class Learned(Protocol):
    """Weights that learn, while they are part of a pipeline's models."""

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """The weights by name, fp32."""
        ...

    @property
    def text(self) -> bool:
        """Whether they are in text encoders, so that embeddings of captions change."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the result's file, on the CPU."""
        ...

    def metadata(self) -> dict[str, str]:
        """Return texts of the result's file that the method needs."""
        ...


class Method(Protocol):
    """A method of training.

    Attributes:
        file_name: Name of the result's file.
        config_key: Node of a run that takes the file.
    """

    file_name: str
    config_key: str

    def attached(self, pipeline: Pipeline, spec: TrainSpec) -> AbstractContextManager[Learned]:
        """Put new weights into the models of a pipeline; they are taken out when the context exits.

        Args:
            pipeline: The pipeline, whose other weights do not learn meanwhile.
            spec: Settings of the training.

        Returns:
            The weights.
        """
        ...
