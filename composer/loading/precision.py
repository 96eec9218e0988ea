"""``precision=…`` and ``device=…`` resolved to torch's dtypes and devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from composer.config.spec import PrecisionSpec
from composer.errors import ComposerError
from composer.loading.quantization import STORAGES

#: ``precision`` → dtype.
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
#: Size of a denoiser's fp32 weights from which 16 bits save time on a CPU; products of smaller layers do not use its
#: 16-bit units well.
MIN_BYTES_FOR_16_BITS = 200 << 20


@dataclass(frozen=True)
class DtypePlan:
    """Compute and storage dtypes of a checkpoint's components.

    Attributes:
        default: Compute dtype.
        per_component: Component and compute dtype, where it is not the default.
        stored: Component and storage, a key of ``STORAGES``, where weights are stored in fewer bits.
    """

    default: torch.dtype
    per_component: tuple[tuple[str, torch.dtype], ...] = ()
    stored: tuple[tuple[str, str], ...] = ()

    def of(self, component: str) -> torch.dtype:
        """Return the compute dtype of a component.

        Args:
            component: Name of the component.
        """
        return dict(self.per_component).get(component, self.default)

    def storage(self, component: str) -> str | None:
        """Return the storage of a component's weights, a key of ``STORAGES``; None for the compute dtype.

        Args:
            component: Name of the component.
        """
        return dict(self.stored).get(component)

    def size(self, component: str) -> float:
        """Return the bytes of one stored weight.

        Args:
            component: Name of the component.
        """
        storage = self.storage(component)
        return STORAGES[storage].size if storage else self.of(component).itemsize

    @property
    def argument(self) -> Any:
        """The plan as the ``torch_dtype`` of diffusers' ``from_pretrained``."""
        return {**dict(self.per_component), "default": self.default} if self.per_component else self.default


def dtype_of(model: torch.nn.Module) -> torch.dtype | None:
    """Return the dtype of a model's first floating-point parameter.

    diffusers' own ``dtype`` visits all modules, which takes milliseconds.

    Args:
        model: The model.

    Returns:
        The dtype; None without such parameters.
    """
    return next((weight.dtype for weight in model.parameters() if weight.is_floating_point()), None)


def resolve_dtypes(
    spec: PrecisionSpec, device: torch.device, size: int, single_file: bool = False
) -> tuple[DtypePlan, tuple[str, ...]]:
    """Resolve the precision settings for a device.

    Args:
        spec: The precision settings.
        device: Device of the run.
        size: Bytes of the denoiser's weights in fp32.
        single_file: Whether the checkpoint is a single file, which has one dtype.

    Returns:
        The dtypes, and a note for each requested dtype that is replaced or forced.

    Raises:
        ComposerError: ``strict`` is set and a requested dtype is unsuitable for the device, or a single file is to have
            several dtypes.
    """
    default, note = _resolve_dtype("dtype", spec.dtype, device, size, spec)
    components = {name: _resolve_dtype(name, dtype, device, size, spec) for name, dtype in spec.components.items()}
    if single_file and any(dtype != default for dtype, _ in components.values()):
        name = next(iter(components))
        reason = "a single file is loaded in one precision: use a folder"
        raise ComposerError(f"precision.{name}", spec.components[name], reason)
    notes = tuple(dict.fromkeys(line for line in (note, *(line for _, line in components.values())) if line))
    others = tuple((name, dtype) for name, (dtype, _) in components.items() if dtype != default)
    return DtypePlan(default, others), notes


def _resolve_dtype(
    key: str, requested: str, device: torch.device, size: int, spec: PrecisionSpec
) -> tuple[torch.dtype, str | None]:
    """Return the dtype to compute in, and a note if it is not the requested one or is forced."""
    if requested == "auto":
        return fastest_dtype(device, size), None
    dtype = DTYPES[requested]
    why = why_unsuitable(dtype, device)
    if why is None:
        return dtype, None
    setting = f"precision={requested}" if key == "dtype" else f"precision.{key}={requested}"
    if spec.force:
        return dtype, f"{setting} {why}: computing in it all the same, as precision.force says"
    fastest = fastest_dtype(device, size)
    if spec.strict:
        reason = f"{why}; without precision.strict it would be {DTYPE_NAMES[fastest]}"
        raise ComposerError(f"precision.{key}", requested, reason)
    return fastest, f"{setting} {why}: computing in {DTYPE_NAMES[fastest]}"


def fastest_dtype(device: torch.device, size: int) -> torch.dtype:
    """Return the fastest dtype that a device supports natively.

    Args:
        device: The device.
        size: Bytes of the denoiser's weights in fp32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if _native_on_cuda(device) else torch.float16
    if device.type == "mps":
        return torch.float16
    return torch.bfloat16 if size >= MIN_BYTES_FOR_16_BITS and _native_on_cpu() else torch.float32


def why_unsuitable(dtype: torch.dtype, device: torch.device) -> str | None:
    """Return why a device should not compute in a dtype.

    CPUs lack fast fp16 kernels: fp16 was measured to be 11 to 20 times slower than fp32
    (``benchmarks/cpu_precision.py``). bf16 is emulated on GPUs without units for it.

    Args:
        dtype: The dtype.
        device: The device.

    Returns:
        The rest of a sentence that begins with the dtype; None if it is suitable.
    """
    if dtype == torch.float16 and device.type == "cpu":
        return "is many times slower on a CPU than fp32"
    if dtype == torch.bfloat16 and device.type == "cuda" and not _native_on_cuda(device):
        return "is only emulated on this GPU"
    return None


def _native_on_cuda(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device)[0] >= 8


def _native_on_cpu() -> bool:
    """Whether the CPU has units for bf16: AVX512_BF16 or AMX."""
    if not torch.backends.mkldnn.is_available():
        return False
    return any(getattr(torch.cpu, probe, bool)() for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))


def resolve_device(name: str) -> torch.device:
    """Resolve ``device=…``.

    Args:
        name: ``cpu``, ``mps``, ``cuda``, ``cuda:N``, or ``auto`` for the first kind that exists.

    Returns:
        The device.

    Raises:
        ComposerError: The machine has no such device.
    """
    count = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    if name == "auto":
        name = next(kind for kind, number in count.items() if number)
    kind, _, index = name.partition(":")
    if int(index or 0) >= count[kind]:
        reason = f"this machine has {count[kind]}, counted from 0" if index and count[kind] else "this machine has none"
        available = [
            f"{kind}:{number}" if index and devices > 1 else kind
            for kind, devices in count.items()
            for number in range(devices)
        ]
        raise ComposerError("device", name, reason, dict.fromkeys(available))
    return torch.device(name)
