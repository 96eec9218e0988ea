"""The file of a textual inversion before it has learnt, which the vectors are put into. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from composer.checkpoints.checkpoint import Checkpoint
from composer.checks.embeddings import ENCODERS
from composer.training.spec import InversionTraining

#: Text encoder → name of its vectors in a file for a model with two.
_NAMES = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}


def tensor_names(word: str, encoders: Sequence[str]) -> dict[str, str]:
    """Name the tensors of a file: by the word, or by the text encoder where there are two.

    Args:
        word: The word.
        encoders: Text encoders of the model.

    Returns:
        Text encoder → name.
    """
    return {name: _NAMES[name] if len(encoders) > 1 else word for name in encoders}


def write_first_file(folder: Path, spec: InversionTraining, checkpoint: Checkpoint) -> Path:
    """Write vectors of zeros.

    Args:
        folder: Directory of the file.
        spec: Settings of the training.
        checkpoint: The base model, whose text encoders say how wide the vectors are.

    Returns:
        The file.
    """
    encoders = [name for name in ENCODERS[checkpoint.family] if name in checkpoint.classes]
    widths = {name: int(checkpoint.configs[name]["hidden_size"]) for name in encoders}
    names = tensor_names(str(spec.word), encoders)
    path = folder / "first.safetensors"
    save_file({names[name]: np.zeros((spec.vectors, widths[name]), np.float32) for name in encoders}, path)
    return path
