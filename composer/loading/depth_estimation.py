"""The preprocessor `depth`: depth maps of control images by a model of transformers."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from composer.errors import ComposerError
from composer.system.paths import expand_user

if TYPE_CHECKING:
    from PIL.Image import Image


def depth(image: Image, model: str) -> Image:
    """Estimate depth; nearer is lighter.

    Args:
        image: An RGB image.
        model: Directory or hub id of a model for depth estimation, such as `depth-anything/Depth-Anything-V2-Small-hf`.

    Returns:
        The depth from 0 to 255, as RGB.

    Raises:
        ComposerError: The model can't be loaded.
    """
    return estimate(image, *_models(str(expand_user(model))))


def estimate(image: Image, processor: Any, network: Any) -> Image:
    """Estimate depth by a loaded model.

    Args:
        image: An RGB image.
        processor: Image processor of the model.
        network: The model.

    Returns:
        The depth from 0 to 255, as RGB; larger predictions are lighter.
    """
    import numpy as np
    import torch
    from PIL import Image as images

    with torch.no_grad():
        inputs = processor(images=image, return_tensors="pt").to(network.device, network.dtype)
        predicted = network(**inputs).predicted_depth
    resized = torch.nn.functional.interpolate(predicted[:, None].float(), (image.height, image.width), mode="bicubic")
    low, high = resized.min(), resized.max()
    unit = (resized - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny)
    return images.fromarray((unit[0, 0] * 255).round().cpu().numpy().astype(np.uint8)).convert("RGB")


@lru_cache(maxsize=1)
def _models(source: str) -> tuple[Any, Any]:
    """Image processor and network, on the CPU in fp32."""
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    try:
        processor = AutoImageProcessor.from_pretrained(source)
        network = AutoModelForDepthEstimation.from_pretrained(source, use_safetensors=True, dtype="float32")
    except (OSError, ValueError, KeyError) as error:
        why = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ComposerError("control.preprocess.model", source, f"can't be loaded: {why}") from error
    return processor, network.eval()
