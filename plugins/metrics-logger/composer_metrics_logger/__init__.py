"""Every step of a run as curves: in TensorBoard's files, and in MLflow where it is installed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING

from composer import Run, Step, StepCallback
from composer_metrics_logger.sinks import MLflow, Sink, TensorBoard

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


class MetricsLogger(StepCallback):
    """Logs sigma, guidance, seconds, and the deviations of latents and prediction; then the settings and the images.

    folder: of TensorBoard's files; None puts them beside the images. mlflow: a tracking URI, None leaves MLflow out.
    """

    def __init__(self, folder: str | None = None, mlflow: str | None = None, experiment: str = "composer") -> None:
        self.folder, self.uri, self.experiment = folder, mlflow, experiment
        if mlflow is not None:
            MLflow.check()

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        self.sinks = self._sinks(run)
        self.prediction = self.started = 0.0
        try:
            for sink in self.sinks:
                sink.settings(run_settings(run))
            yield
        finally:
            for sink in self.sinks:
                sink.close()
            self.sinks = []

    def before_step(self, step: Step) -> None:
        self.started = time.perf_counter()

    def after_predict(self, step: Step, prediction: Tensor) -> None:
        self.prediction = float(prediction.float().std())

    def after_step(self, step: Step, latents: Tensor) -> None:
        metrics = {
            "seconds": time.perf_counter() - self.started,
            "guidance_scale": step.guidance_scale,
            "latents_std": float(latents.float().std()),
            "prediction_std": self.prediction,
        }
        if isfinite(step.sigma):
            metrics["sigma"] = step.sigma
        for sink in self.sinks:
            sink.step(step.index, metrics)

    def after_decode(self, run: Run, images: list[Image]) -> None:
        for sink in self.sinks:
            sink.images(images)

    def _sinks(self, run: Run) -> list[Sink]:
        folder = self.folder or (None if run.folder is None else str(run.folder / "tensorboard"))
        sinks: list[Sink] = [] if folder is None else [TensorBoard(folder)]
        return sinks if self.uri is None else [*sinks, MLflow(self.uri, self.experiment)]


def run_settings(run: Run) -> dict[str, str | int]:
    """Requested settings by dotted key."""
    request = run.request
    return {
        "prompt": " | ".join(request.prompts),
        "seeds": " ".join(map(str, request.seeds)),
        "steps": request.steps,
        "height": request.height,
        "width": request.width,
        "scheduler": type(run.scheduler).__name__,
    }
