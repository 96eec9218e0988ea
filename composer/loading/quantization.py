"""``precision.storage``: denoiser weights that are stored in fewer bits than they compute in.

fp8 is diffusers' layerwise casting. The others are libraries that diffusers calls, each an extra of this package.
See https://huggingface.co/docs/diffusers/quantization/overview.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from composer.errors import ComposerError

#: 8 bits with 4 of exponent and 3 of fraction: enough to store weights, not to compute with them.
FP8 = torch.float8_e4m3fn


@dataclass(frozen=True)
class Storage:
    """A way to store weights.

    Attributes:
        size: Bytes per weight.
        package: Package that it needs; None for diffusers alone.
        extra: Extra of composer that installs the package.
        config: Compute dtype → ``quantization_config`` of diffusers' ``from_pretrained``; None for layerwise casting.
        devices: Types of devices that it works on; None for all.
    """

    size: float
    package: str | None = None
    extra: str | None = None
    config: Callable[[torch.dtype], Any] | None = None
    devices: frozenset[str] | None = None


def _torchao(dtype: torch.dtype) -> Any:
    from diffusers.quantizers.quantization_config import TorchAoConfig

    torchao = import_module("torchao.quantization")  # an extra that type checkers need not find
    return TorchAoConfig(torchao.Int8WeightOnlyConfig())


def _quanto(dtype: torch.dtype) -> Any:
    from diffusers.quantizers.quantization_config import QuantoConfig

    return QuantoConfig(weights_dtype="int8")


def _bnb_int8(dtype: torch.dtype) -> Any:
    from diffusers.quantizers.quantization_config import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_8bit=True)


def _bnb_nf4(dtype: torch.dtype) -> Any:
    from diffusers.quantizers.quantization_config import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def _gguf(dtype: torch.dtype) -> Any:
    from diffusers.quantizers.quantization_config import GGUFQuantizationConfig

    return GGUFQuantizationConfig(compute_dtype=dtype)


#: Storage of GGUF files, which is no choice of ``precision.storage``.
GGUF = "gguf"
#: ``precision.storage`` → the storage.
STORAGES = {
    "fp8": Storage(1),
    "torchao_int8": Storage(1, "torchao", "torchao", _torchao),
    "quanto_int8": Storage(1, "optimum.quanto", "quanto", _quanto),
    "bnb_int8": Storage(1, "bitsandbytes", "bitsandbytes", _bnb_int8, frozenset({"cuda"})),
    "bnb_nf4": Storage(0.5, "bitsandbytes", "bitsandbytes", _bnb_nf4, frozenset({"cuda"})),
    GGUF: Storage(0.6, "gguf", "gguf", _gguf),  # the usual 4 bits, with one scale for 32 weights
}


def check_storage(name: str, device: torch.device, single_file: bool) -> None:
    """Refuse a storage that does not work here.

    Args:
        name: A key of ``STORAGES``.
        device: Device of the run.
        single_file: Whether the checkpoint is a single file.

    Raises:
        ComposerError: The device, the package or the format of the checkpoint does not allow it.
    """
    storage = STORAGES[name]
    if storage.devices is not None and device.type not in storage.devices:
        reason = f"works on {' and '.join(sorted(storage.devices))} alone, not on {device.type}"
        raise ComposerError("precision.storage", name, reason)
    if storage.package is not None and not _is_installed(storage.package):
        reason = f"needs the package {storage.package}: pip install 'diffusion-composer[{storage.extra}]'"
        raise ComposerError("precision.storage", name, reason)
    if storage.config is not None and single_file:
        reason = "needs a checkpoint's folder, and this is a single file: use fp8, or a folder"
        raise ComposerError("precision.storage", name, reason)


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False


def loading_arguments(name: str | None, dtype: torch.dtype) -> dict[str, Any]:
    """Return the arguments of ``from_pretrained`` that store a model in this way.

    Args:
        name: A key of ``STORAGES``; None for the compute dtype.
        dtype: Compute dtype.
    """
    config = STORAGES[name].config if name else None
    return {} if config is None else {"quantization_config": config(dtype)}


def apply_storage(name: str | None, model: Any, dtype: torch.dtype) -> Any:
    """Enable layerwise casting on a loaded model, if its storage is fp8.

    Storing weights in 8 bits loses information, so the model must not be shared with runs without this storage.

    Args:
        name: A key of ``STORAGES``; None for the compute dtype.
        model: The model.
        dtype: Compute dtype.

    Returns:
        The same model.
    """
    if name == "fp8":
        model.enable_layerwise_casting(storage_dtype=FP8, compute_dtype=dtype)
    return model
