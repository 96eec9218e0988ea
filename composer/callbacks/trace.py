"""What the numbers do at every step, as lines of JSON and a plot."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from composer.callbacks.base import Run, Step, StepCallback
from composer.system.memory import peak_memory

if TYPE_CHECKING:
    from torch import Tensor


class Trace(StepCallback):
    """Writes trace.jsonl (one line an iteration) and trace.png; `rows` holds the same after a run."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.run: Run | None = None
        self.started = 0.0

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        self.run, self.rows, self.prediction = run, [], {}
        yield
        if run.folder is not None and self.rows:
            from composer.images.charts import plot
            from composer.system.files import write

            write(run.folder / "trace.jsonl", "".join(f"{json.dumps(row)}\n" for row in self.rows).encode())
            series = {
                "deviation of the latents": [row["latents"]["std"] for row in self.rows],
                "deviation of the prediction": [row["prediction"]["std"] for row in self.rows],
                "sigma": [row["sigma"] for row in self.rows],
            }
            write(run.folder / "trace.png", plot(series, "iteration"))

    def before_step(self, step: Step) -> None:
        self.started = time.perf_counter()

    def after_predict(self, step: Step, prediction: Tensor) -> None:
        self.prediction = summary(prediction)

    def after_step(self, step: Step, latents: Tensor) -> None:
        self.rows.append(
            {
                "index": step.index, "timestep": float(step.timestep), "sigma": step.sigma, "guidance_scale": step.guidance_scale,
                "latents": summary(latents), "prediction": self.prediction,
                "seconds": round(time.perf_counter() - self.started, 6), "peak_memory": peak_memory(),
            }
        )  # fmt: skip


def summary(tensor: Tensor) -> dict[str, float]:
    """Over the whole batch."""
    x = tensor.float()
    return {
        "mean": float(x.mean()),
        "std": float(x.std()),
        "min": float(x.min()),
        "max": float(x.max()),
        "norm": float(x.norm()),
    }
