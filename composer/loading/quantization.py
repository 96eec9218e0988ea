"""precision.storage: the denoiser's weights kept in fewer bits than they compute in.

fp8 is diffusers' layerwise casting; the others are libraries that diffusers calls, each an extra of this package.
https://huggingface.co/docs/diffusers/quantization/overview
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from composer.errors import ComposerError

#: Eight bits with four of exponent and three of fraction: enough to keep weights, not to compute with them.
FP8 = torch.float8_e4m3fn


@dataclass(frozen=True)
class Storage:
    """size: bytes a weight. package and extra: what it needs. config: what diffusers' from_pretrained is given, for the
    dtype that is
    computed in. devices: where it works, None for all."""

    size: float
    package: str | None = None
    extra: str | None = None
    config: Callable[[torch.dtype], Any] | None = None
    devices: frozenset[str] | None = None


def _torchao(dtype: torch.dtype) -> Any:
    from diffusers import TorchAoConfig
    from torchao.quantization import Int8WeightOnlyConfig

    return TorchAoConfig(Int8WeightOnlyConfig())


def _quanto(dtype: torch.dtype) -> Any:
    from diffusers import QuantoConfig

    return QuantoConfig(weights_dtype="int8")


def _bnb_int8(dtype: torch.dtype) -> Any:
    from diffusers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_8bit=True)


def _bnb_nf4(dtype: torch.dtype) -> Any:
    from diffusers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def _gguf(dtype: torch.dtype) -> Any:
    from diffusers import GGUFQuantizationConfig

    return GGUFQuantizationConfig(compute_dtype=dtype)


#: What a file holds and nobody chooses.
OF_FILES = "gguf"
STORAGES = {
    "fp8": Storage(1),
    "torchao_int8": Storage(1, "torchao", "torchao", _torchao),
    "quanto_int8": Storage(1, "optimum.quanto", "quanto", _quanto),
    "bnb_int8": Storage(1, "bitsandbytes", "bitsandbytes", _bnb_int8, frozenset({"cuda"})),
    "bnb_nf4": Storage(0.5, "bitsandbytes", "bitsandbytes", _bnb_nf4, frozenset({"cuda"})),
    OF_FILES: Storage(0.6, "gguf", "gguf", _gguf),  # 4 bits and a scale to 32 of them, the usual choice
}


def check(name: str, device: torch.device, single_file: bool) -> None:
    """Raises:
    ComposerError: it can't be done here.
    """
    storage = STORAGES[name]
    if storage.devices is not None and device.type not in storage.devices:
        raise ComposerError(
            "precision.storage", name, f"works on {' and '.join(sorted(storage.devices))} alone, not on {device.type}"
        )
    if storage.package is not None and not _there(storage.package):
        reason = f"needs the package {storage.package}: pip install 'diffusion-composer[{storage.extra}]'"
        raise ComposerError("precision.storage", name, reason)
    if storage.config is not None and single_file:
        raise ComposerError(
            "precision.storage", name, "needs a checkpoint's folder, and this is a single file: use fp8, or a folder"
        )


def _there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False


def loading(name: str | None, dtype: torch.dtype) -> dict[str, Any]:
    """Keywords for from_pretrained, by which a model is loaded so."""
    config = STORAGES[name].config if name else None
    return {} if config is None else {"quantization_config": config(dtype)}


def loaded(name: str | None, model: torch.nn.Module, dtype: torch.dtype) -> torch.nn.Module:
    """A model as it is to be kept. What was cut off can't be had back, so it is another model than one without."""
    if name == "fp8":
        model.enable_layerwise_casting(storage_dtype=FP8, compute_dtype=dtype)
    return model
