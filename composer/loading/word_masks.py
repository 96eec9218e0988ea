"""Masks of what words describe, by models of transformers: segmentation by text, and detection by text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from composer.loading.tool_models import on_device
from composer.system.run_lock import in_turn

#: The class that segments; others find boxes.
SEGMENTING = "CLIPSegForImageSegmentation"


@in_turn
def mask_of_words(image: Image.Image, phrases: Sequence[str], processor: Any, model: Any, threshold: float) -> Any:
    """Make a mask of what phrases describe.

    Args:
        image: An RGB image.
        phrases: What to mark, each on its own.
        processor: What prepares the model's inputs.
        model: A model that segments, or finds boxes, by text.
        threshold: Least probability of a pixel or a box, from 0 to 1.

    Returns:
        A mask of mode L, of the image's size; a box is marked completely.
    """
    with torch.inference_mode():
        if type(model).__name__ == SEGMENTING:
            inside = _segment(image, phrases, processor, model) >= threshold
        else:
            inside = _detect(image, phrases, processor, model, threshold)
    return Image.fromarray((inside * 255).astype(np.uint8))


def _segment(image: Image.Image, phrases: Sequence[str], processor: Any, model: Any) -> np.ndarray:
    """The largest probability of a phrase at each pixel."""
    inputs = processor(text=[*phrases], images=[image] * len(phrases), padding=True, return_tensors="pt")
    logits = model(**on_device(inputs, model)).logits.float()
    logits = logits.reshape(len(phrases), 1, *logits.shape[-2:])
    large = torch.nn.functional.interpolate(logits, (image.height, image.width), mode="bilinear", align_corners=False)
    probabilities: np.ndarray = large.sigmoid().amax((0, 1)).cpu().numpy()
    return probabilities


def _detect(image: Image.Image, phrases: Sequence[str], processor: Any, model: Any, threshold: float) -> np.ndarray:
    """Where a box of a phrase is."""
    inputs = processor(text=[[phrase.lower() for phrase in phrases]], images=image, return_tensors="pt")
    outputs = model(**on_device(inputs, model))
    more = {"input_ids": inputs["input_ids"], "text_threshold": threshold} if "Dino" in type(model).__name__ else {}
    size = (image.height, image.width)
    (result,) = processor.post_process_grounded_object_detection(
        outputs, threshold=threshold, target_sizes=[size], **more
    )
    inside = np.zeros(size, bool)
    for left, top, right, bottom in result["boxes"].float().cpu().round().int().clamp(min=0).tolist():
        inside[top : max(bottom, top + 1), left : max(right, left + 1)] = True
    return inside
