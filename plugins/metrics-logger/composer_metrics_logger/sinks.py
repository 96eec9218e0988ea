"""Where metrics go. Each library is imported when it is first written to, so that naming the option costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from PIL.Image import Image

from composer import ComposerError


class Sink(Protocol):
    """What the callback asks of a library."""

    def settings(self, values: Mapping[str, Any]) -> None:
        """Log the requested settings, once."""

    def step(self, index: int, metrics: Mapping[str, float]) -> None:
        """One iteration."""

    def images(self, images: list[Image]) -> None:
        """The results."""

    def close(self) -> None:
        """Write everything out."""


class TensorBoard:
    """One event file under `folder`."""

    def __init__(self, folder: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(folder)

    def settings(self, values: Mapping[str, Any]) -> None:
        self.writer.add_text("settings", "  \n".join(f"{name}: {value}" for name, value in values.items()))

    def step(self, index: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, index)

    def images(self, images: list[Image]) -> None:
        for i, image in enumerate(images):
            self.writer.add_image(f"image/{i}", np.asarray(image.convert("RGB")), dataformats="HWC")

    def close(self) -> None:
        self.writer.close()


class MLflow:
    """One run of an experiment at a tracking URI, such as a folder or http://localhost:5000."""

    @staticmethod
    def check() -> None:
        """Raises:
        ComposerError: MLflow is not installed.
        """
        if find_spec("mlflow") is None:
            raise ComposerError(
                "callbacks.metrics_logger.mlflow", None, "MLflow is not installed: pip install mlflow-skinny"
            )

    def __init__(self, uri: str, experiment: str) -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient(uri)
        known = self.client.get_experiment_by_name(experiment)
        self.run = self.client.create_run(
            known.experiment_id if known else self.client.create_experiment(experiment)
        ).info.run_id

    def settings(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            self.client.log_param(self.run, name, value)

    def step(self, index: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self.client.log_metric(self.run, name, value, step=index)

    def images(self, images: list[Image]) -> None:
        for i, image in enumerate(images):
            self.client.log_image(self.run, image, f"{i:03d}.png")

    def close(self) -> None:
        self.client.set_terminated(self.run)
