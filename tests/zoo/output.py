"""What a pipeline generated, as one array, whatever its class calls it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline

from zoo.entry import Entry

#: Fields of diffusers' outputs, in the order in which they are looked for.
FIELDS = ("images", "image", "frames", "audios", "prediction", "image_embeddings", "image_embeds")


def output(result: Any) -> np.ndarray:
    """The first array of a result, as float64.

    Raises:
        KeyError: Where it has none of the known fields.
    """
    value = next((result[name] for name in FIELDS if result.get(name) is not None), None)
    if value is None:
        raise KeyError(f"{type(result).__name__} has none of {', '.join(FIELDS)}")
    return _array(value)


def generate(entry: Entry, pipeline: DiffusionPipeline, steps: int = 4, seed: int = 3) -> np.ndarray:
    """What an entry's pipeline generates by its own `__call__`, torch's global generator seeded where it uses that
    one.
    """
    with torch.random.fork_rng(devices=[], enabled=entry.global_random):
        if entry.global_random:
            torch.manual_seed(0)
        return output(pipeline(**entry.call(steps, seed)))


def _array(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        return value.detach().double().numpy()
    if isinstance(value, list | tuple):
        return np.stack([_array(element) for element in value])
    return np.asarray(value, np.float64)
