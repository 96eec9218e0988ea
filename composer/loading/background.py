"""Masks of what is in front of a background, by models in ONNX files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from composer.checkpoints.fingerprints import file_states
from composer.errors import ComposerError
from composer.loading.kept_models import kept
from composer.system.run_lock import in_turn


@dataclass(frozen=True)
class Kind:
    """How a kind of models reads images.

    Attributes:
        mean: What is subtracted from red, green and blue, of 1.
        deviation: What they are divided by.
        side: Side of the square that it reads, in pixels, where its file does not say it.
        is_logit: Whether its values are logits, and not probabilities.
    """

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    side: int
    is_logit: bool = False


_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Name → how its models read images, as their authors and https://github.com/danielgatis/rembg do.
KINDS = {
    "u2net": Kind(*_IMAGENET, 320),
    "isnet": Kind((0.5, 0.5, 0.5), (1.0, 1.0, 1.0), 1024),
    "rmbg2": Kind(*_IMAGENET, 1024),
    "birefnet": Kind(*_IMAGENET, 1024, is_logit=True),
}


@in_turn
def check_file(key: str, file: Path) -> bool:
    """Refuse a file that holds no model of one image.

    Args:
        key: Config key that names it, for errors.
        file: An ONNX file.

    Returns:
        True.

    Raises:
        ComposerError: It can't be loaded, or reads something else than one RGB image.
    """
    shapes = [one.shape for one in _session(key, file, "cpu").get_inputs()]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] != 3:
        raise ComposerError(key, file, f"reads inputs of the shapes {shapes}, and not one RGB image")
    return True


@in_turn
def foreground(key: str, file: Path, image: Image.Image, kind: str, device: str) -> Image.Image:
    """Make a mask of what is in front of the background.

    Args:
        key: Config key that names the file, for errors.
        file: An ONNX file.
        image: An RGB image.
        kind: A key of `KINDS`.
        device: Name of the device.

    Returns:
        A mask of mode L, of the image's size; from its least value 0 to its largest 255.

    Raises:
        ComposerError: It can't be loaded.
    """
    session, how = _session(key, file, device), KINDS[kind]
    (given,) = session.get_inputs()
    height, width = (side if isinstance(side, int) else how.side for side in given.shape[2:])
    pixels = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS), np.float64)
    pixels = (pixels / max(pixels.max(), 1e-6) - how.mean) / how.deviation
    dtype = np.float16 if given.type == "tensor(float16)" else np.float32
    values = session.run(None, {given.name: pixels.transpose(2, 0, 1)[None].astype(dtype)})[0][0, 0].astype(np.float64)
    if how.is_logit:
        values = 1 / (1 + np.exp(-values))
    unit = (values - values.min()) / max(np.ptp(values), 1e-12)
    return Image.fromarray((unit * 255).astype(np.uint8)).resize(image.size, Image.Resampling.LANCZOS)


def _session(key: str, file: Path, device: str) -> Any:
    import onnxruntime
    import torch

    def load() -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        ours = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
        providers = [name for name in ours if name in onnxruntime.get_available_providers()]
        try:
            return onnxruntime.InferenceSession(str(file), options, [*providers, "CPUExecutionProvider"])
        except Exception as error:  # the library has errors of its own
            why = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ComposerError(key, file, f"can't be loaded: {why}") from error

    return kept(("background", file_states(file), device), load)
