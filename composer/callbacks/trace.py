"""Statistics of latents and predictions at every step, as JSON lines and a plot."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.callbacks.base import Run, Step, StepCallback
from composer.system.memory import peak_memory

if TYPE_CHECKING:
    from torch import Tensor


class Trace(StepCallback):
    """Record statistics of each iteration: `trace.jsonl`, one JSON object a line, and a plot, `trace.png`.

    Attributes:
        rows: The same objects after a run. Keys are `stage`, `index`, `timestep`, `sigma`, `guidance_scale`, `latents`
            and `prediction` (see `summarize`), `seconds`, and `peak_memory` in bytes.
    """

    media = frozenset({"image", "clip", "sound"})

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.prediction: dict[str, float] = {}
        self.started = 0.0

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        """Write the files when the run has ended without an error."""
        self.rows, self.prediction = [], {}
        yield
        if run.folder is not None and self.rows:
            self.save(run.folder)

    def before_step(self, step: Step) -> None:
        """Start the clock of an iteration."""
        self.started = time.perf_counter()

    def after_predict(self, step: Step, prediction: Tensor) -> None:
        """Summarize the model's prediction."""
        self.prediction = summarize(prediction)

    def after_step(self, step: Step, latents: Tensor) -> None:
        """Add the row of an iteration."""
        self.rows.append(
            {
                "stage": step.stage,
                "index": step.index,
                "timestep": float(step.timestep),
                "sigma": step.sigma if isfinite(step.sigma) else None,
                "guidance_scale": step.guidance_scale,
                "latents": summarize(latents),
                "prediction": self.prediction,
                "seconds": round(time.perf_counter() - self.started, 6),
                "peak_memory": peak_memory(),
            }
        )

    def save(self, folder: Path) -> None:
        """Write the rows and their plot.

        Args:
            folder: Existing directory.
        """
        from composer.images.charts import encode_chart
        from composer.system.files import write_atomically

        write_atomically(folder / "trace.jsonl", "".join(f"{json.dumps(row)}\n" for row in self.rows).encode())
        series = {
            "deviation of the latents": [row["latents"]["std"] for row in self.rows],
            "deviation of the prediction": [row["prediction"]["std"] for row in self.rows],
            "sigma": [row["sigma"] for row in self.rows],
        }
        write_atomically(folder / "trace.png", encode_chart(series, "iteration"))


def summarize(tensor: Tensor) -> dict[str, float]:
    """Compute statistics over a batch.

    Args:
        tensor: Any shape and floating-point dtype; computed in float32.

    Returns:
        `mean`, `std`, `min`, `max` and L2 `norm`.
    """
    x = tensor.float()
    return {
        "mean": float(x.mean()),
        "std": float(x.std()),
        "min": float(x.min()),
        "max": float(x.max()),
        "norm": float(x.norm()),
    }
