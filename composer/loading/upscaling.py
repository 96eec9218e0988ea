"""Models that enlarge or restore images, of the architectures that spandrel recognises.

https://github.com/chaiNNer-org/spandrel
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from composer.checkpoints.fingerprints import file_states
from composer.errors import ComposerError
from composer.loading.kept_models import kept
from composer.loading.precision import DTYPES
from composer.system.run_lock import in_turn

#: Settings of a model's channels that are read: gray or RGB, in and out.
CHANNELS = ((1, 1), (3, 3))
_PIP = "pip install 'diffusion-composer[upscale]'"


def library(key: str, value: str) -> Any:
    """Import spandrel.

    Args:
        key: Config key that needs it, for errors.
        value: The key's value.

    Returns:
        The module.

    Raises:
        ComposerError: It, or torchvision, which it needs, is missing or does not fit the installed torch.
    """
    try:
        return import_module("spandrel")
    except ImportError as error:
        raise ComposerError(key, value, f"needs the package {error.name or 'spandrel'}: {_PIP}") from None
    except RuntimeError as error:  # of torchvision, whose operators are built for one version of torch
        why = next(iter(str(error).splitlines()), "")
        raise ComposerError(key, value, f"torchvision does not fit torch {torch.__version__}: {why}: {_PIP}") from None


@in_turn
def traits(key: str, file: Path) -> dict[str, Any]:
    """Read a model and describe it.

    Args:
        key: Config key that names the file, for errors.
        file: A file of weights.

    Returns:
        `architecture`; `scale`, the factor of both sides; `dtypes`, the names of those that it can compute in.

    Raises:
        ComposerError: It is damaged, of no known architecture, or of one that does not make images of images.
    """
    model = _load(key, file, torch.float32, torch.device("cpu"))
    halves = {"fp16": model.supports_half, "bf16": model.supports_bfloat16}
    return {
        "architecture": model.architecture.name,
        "scale": model.scale,
        "dtypes": ["fp32", *(name for name, is_supported in halves.items() if is_supported)],
    }


def enlarge(key: str, file: Path, image: Image.Image, dtype: str, device: str, tile: int | None, overlap: int) -> Any:
    """Enlarge an image by a model.

    Args:
        key: Config key that names the file, for errors.
        file: A file of weights.
        image: An RGB image.
        dtype: Name of the dtype that the model computes in.
        device: Name of the device.
        tile: Side of the squares that are enlarged one by one, in pixels of `image`; None for all at once.
        overlap: Pixels around each square that the model sees too, so that no edge is visible.

    Returns:
        An RGB image, larger by the model's scale.

    Raises:
        ComposerError: The file can't be loaded.
    """
    model = _load(key, file, DTYPES[dtype], torch.device(device))
    is_gray = model.input_channels == 1
    pixels = np.asarray(image.convert("L") if is_gray else image, np.float32)
    given = torch.from_numpy(pixels / 255).reshape(1, image.height, image.width, -1).permute(0, 3, 1, 2)
    result = torch.empty(1, given.shape[1], image.height * model.scale, image.width * model.scale)
    inside = tile if tile is not None and model.tiling != library(key, str(file)).ModelTiling.INTERNAL else None
    with torch.inference_mode():
        for box in _tiles(image.width, image.height, inside):
            _enlarge_tile(model, given, result, box, overlap)
    values = (result[0].permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return Image.fromarray(values[..., 0] if is_gray else values).convert("RGB")


def _tiles(width: int, height: int, tile: int | None) -> Iterator[tuple[int, int, int, int]]:
    """Left, top, right and bottom of each square; those at the right and at the bottom may be smaller."""
    side = tile or max(width, height)
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield left, top, min(left + side, width), min(top + side, height)


def _enlarge_tile(
    model: Any, given: torch.Tensor, result: torch.Tensor, box: tuple[int, int, int, int], overlap: int
) -> None:
    """Enlarge a square with what surrounds it, and keep the square."""
    left, top, right, bottom = box
    x, y = max(left - overlap, 0), max(top - overlap, 0)
    around = given[..., y : bottom + overlap, x : right + overlap]
    output, scale = model(around.to(model.device, model.dtype).contiguous()), model.scale
    inner = output[..., (top - y) * scale : (bottom - y) * scale, (left - x) * scale : (right - x) * scale]
    result[..., top * scale : bottom * scale, left * scale : right * scale] = inner.float().cpu()


def _load(key: str, file: Path, dtype: torch.dtype, device: torch.device) -> Any:
    def load() -> Any:
        spandrel = library(key, str(file))
        try:
            model = spandrel.ModelLoader(device="cpu").load_from_file(file)
        except spandrel.UnsupportedModelError:
            raise ComposerError(key, file, "is of no architecture that spandrel knows") from None
        except Exception as error:  # it trusts the shapes that it reads
            why = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ComposerError(key, file, f"can't be loaded: {why}") from error
        _require_images(key, file, spandrel, model)
        return model.to(device=device, dtype=dtype).eval()

    return kept(("upscaling", file_states(file), dtype, device), load)


def _require_images(key: str, file: Path, spandrel: Any, model: Any) -> None:
    channels = model.input_channels, model.output_channels
    if not isinstance(model, spandrel.ImageModelDescriptor) or channels not in CHANNELS:
        reason = f"is a model of the architecture {model.architecture.name}, which needs more than an image, "
        raise ComposerError(key, file, f"{reason}or takes {channels[0]} channels and makes {channels[1]}")
