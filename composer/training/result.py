"""The file of a finished training, with what it was trained on and how in its metadata.

It holds neither a date nor a duration: the same training gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.fingerprints import checkpoint_fingerprint
from composer.system.files import write_atomically
from composer.training.data import Dataset
from composer.training.learned import Learned
from composer.training.spec import TrainSpec
from composer.version import __version__

#: Family → architecture as the metadata standard of Stability AI names it.
#: https://github.com/Stability-AI/ModelSpec
ARCHITECTURES = {
    "sd": "stable-diffusion-v1", "sdxl": "stable-diffusion-xl-v1-base", "sd3": "stable-diffusion-3",
    "flux": "flux-1",
}  # fmt: skip
#: Width of the text embeddings of Stable Diffusion 2.
_V2_WIDTH = 1024
_KINDS = {"lora": "lora", "textual_inversion": "textual-inversion"}


def describe_training(
    method: str, spec: TrainSpec, dataset: Dataset, checkpoint: Checkpoint, model: str, dtype: str
) -> dict[str, str]:
    """Describe a training as texts for the metadata of its file.

    Args:
        method: ``lora`` or ``textual_inversion``.
        spec: Its settings.
        dataset: Its images.
        checkpoint: Its base model.
        model: Name of the base model.
        dtype: Dtype that the base computed in.

    Returns:
        Text by key.
    """
    base = {"name": model, "source": checkpoint.source, "fingerprint": checkpoint_fingerprint(checkpoint)}
    settings = {name: value for name, value in vars(spec).items() if name not in ("data", "fresh")}
    trigger = {} if spec.word is None else {"modelspec.trigger_phrase": spec.word}
    return {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{_architecture(checkpoint)}/{_KINDS[method]}",
        **trigger,
        "composer.version": __version__,
        "composer.base": _json(base),
        "composer.training": _json({"method": method, "dtype": dtype, **settings}),
        "composer.data": _json({"images": len(dataset.examples), "sha256": dataset.sha256}),
    }


def write_result(path: Path, learned: Learned, metadata: Mapping[str, str]) -> None:
    """Write the weights in one atomic step.

    Args:
        path: The file.
        learned: The weights.
        metadata: Texts of its header.
    """
    write_atomically(path, _sorted_header(save(learned.tensors(), {**metadata, **learned.metadata()})))


def _sorted_header(content: bytes) -> bytes:
    """Sort the metadata of a safetensors file, which the library writes in another order each time.

    https://github.com/huggingface/safetensors#format: the header's length in 8 bytes, the header, the tensors by their
    offsets behind it.
    """
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors are aligned to 8 bytes
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _architecture(checkpoint: Checkpoint) -> str:
    if checkpoint.family == "sd" and checkpoint.denoiser.get("cross_attention_dim") == _V2_WIDTH:
        return "stable-diffusion-v2"
    return ARCHITECTURES[checkpoint.family]


def _json(facts: Any) -> str:
    return json.dumps(facts, sort_keys=True, default=str)
