"""Files that show a training while it runs: `loss.jsonl`, `loss.png` and sheets of sample images in `samples/`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from composer.callbacks.request import Request
from composer.images.charts import encode_chart
from composer.pipelines.pipeline import Pipeline
from composer.system.files import encode_png, write_atomically

LOSSES, CHART, SAMPLES = "loss.jsonl", "loss.png", "samples"
#: Most points of the curve; each is the mean of several steps.
_POINTS = 160


class LossLog:
    """The loss of each step, as a file of JSON lines that grows with the training.

    Args:
        folder: Directory of the training.
        losses: Losses of the steps that are done; lines after them, of a process that was killed, are removed.
    """

    def __init__(self, folder: Path, losses: Sequence[float] = ()) -> None:
        self.folder, self.losses = folder, list(losses)
        lines = [_line(step, loss) for step, loss in enumerate(self.losses, 1)]
        write_atomically(folder / LOSSES, "".join(lines).encode())

    def add(self, loss: float) -> None:
        """Append the loss of the next step.

        Args:
            loss: The loss.
        """
        self.losses.append(loss)
        with (self.folder / LOSSES).open("a", encoding="utf-8") as file:
            file.write(_line(len(self.losses), loss))

    def mean(self, steps: int) -> float:
        """Return the mean loss of the last steps.

        Args:
            steps: Their number, at least 1.
        """
        last = self.losses[-steps:]
        return sum(last) / len(last)

    def plot(self) -> None:
        """Write the curve of the loss as a PNG file."""
        count = max(1, -(-len(self.losses) // _POINTS))
        means = [sum(part) / len(part) for start in range(0, len(self.losses), count)
                 if (part := self.losses[start : start + count])]  # fmt: skip
        title = "loss" if count == 1 else f"loss, mean of {count} steps"
        write_atomically(self.folder / CHART, encode_chart({title: means}, f"{len(self.losses)} steps"))


def _line(step: int, loss: float) -> str:
    return json.dumps({"step": step, "loss": loss}) + "\n"


def write_samples(pipeline: Pipeline, request: Request, folder: Path, step: int) -> Path:
    """Generate sample images with the weights as they are, always from the same seeds.

    Args:
        pipeline: The pipeline, whose models hold the weights that learn.
        request: Prompts and seeds.
        folder: Directory of the training.
        step: Steps that are done.

    Returns:
        The sheet, with the images beside one another.
    """
    images = pipeline(request).images
    sheet = Image.new("RGB", (sum(image.width for image in images), max(image.height for image in images)))
    left = 0
    for image in images:
        sheet.paste(image, (left, 0))
        left += image.width
    path = folder / SAMPLES / f"{step:06}.png"
    write_atomically(path, encode_png(sheet))
    return path
