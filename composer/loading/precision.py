"""precision=… and device=… → torch's own objects: which numbers the models compute with, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from composer.config.spec import PrecisionSpec
from composer.errors import ComposerError
from composer.loading.quantization import STORAGES

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
#: Bytes of a denoiser's fp32 weights below which 16 bits save no time on a CPU: the sums are too small for its 16-bit
#: units.
SMALL = 200 << 20


@dataclass(frozen=True)
class DtypePlan:
    """What models compute with. parts: (component, dtype) of those that differ. stored: (component, storage) of
    those whose weights are kept in fewer bits, see `quantised`."""

    default: torch.dtype
    parts: tuple[tuple[str, torch.dtype], ...] = ()
    stored: tuple[tuple[str, str], ...] = ()

    def of(self, component: str) -> torch.dtype:
        return dict(self.parts).get(component, self.default)

    def storage(self, component: str) -> str | None:
        return dict(self.stored).get(component)

    def size(self, component: str) -> float:
        """Bytes that one weight takes."""
        storage = self.storage(component)
        return STORAGES[storage].size if storage else self.of(component).itemsize

    @property
    def argument(self) -> Any:
        """As diffusers' from_pretrained takes it."""
        return {**dict(self.parts), "default": self.default} if self.parts else self.default


def dtype_of(model: torch.nn.Module) -> torch.dtype | None:
    """What a model's first weights are; diffusers' own `dtype` walks through all of its modules, which takes
    milliseconds.
    """
    return next((weight.dtype for weight in model.parameters() if weight.is_floating_point()), None)


def resolve_dtypes(
    spec: PrecisionSpec, device: torch.device, size: int, single_file: bool = False
) -> tuple[DtypePlan, tuple[str, ...]]:
    """The dtypes to compute with, and lines for the user where they are not those asked for.

    Args:
        size: bytes of the denoiser's weights in fp32.

    Raises:
        ComposerError: `strict`, and this device is slow at what was asked for.
    """
    default, note = _settled("dtype", spec.dtype, device, size, spec)
    parts = {name: _settled(name, wanted, device, size, spec) for name, wanted in spec.components.items()}
    if single_file and any(dtype != default for dtype, _ in parts.values()):
        name = next(iter(parts))
        raise ComposerError(
            f"precision.{name}", spec.components[name], "a single file is loaded in one precision: use a folder"
        )
    notes = tuple(dict.fromkeys(line for line in (note, *(line for _, line in parts.values())) if line))
    return DtypePlan(default, tuple((name, dtype) for name, (dtype, _) in parts.items() if dtype != default)), notes


def _settled(
    key: str, wanted: str, device: torch.device, size: int, spec: PrecisionSpec
) -> tuple[torch.dtype, str | None]:
    if wanted == "auto":
        return best(device, size), None
    dtype = DTYPES[wanted]
    why = slow(dtype, device)
    if why is None:
        return dtype, None
    nearest, asked = best(device, size), f"precision={wanted}" if key == "dtype" else f"precision.{key}={wanted}"
    if spec.force:
        return dtype, f"{asked} {why}: computing in it all the same, as precision.force says"
    if spec.strict:
        raise ComposerError(f"precision.{key}", wanted, f"{why}; without precision.strict it would be {NAMES[nearest]}")
    return nearest, f"{asked} {why}: computing in {NAMES[nearest]}"


def best(device: torch.device, size: int) -> torch.dtype:
    """The fastest numbers that this device really computes with."""
    if device.type == "cuda":
        return torch.bfloat16 if _native_on_cuda(device) else torch.float16
    if device.type == "mps":
        return torch.float16
    return torch.bfloat16 if size >= SMALL and _native_on_cpu() else torch.float32


def slow(dtype: torch.dtype, device: torch.device) -> str | None:
    """Why a device should not compute with these numbers, or None.

    torch computes fp16 on CPUs, but almost without fast kernels: 11 to 20 times slower than fp32 where it was measured
    (benchmarks/cpu_precision.py), and it overflows just as on a GPU. bf16 on a GPU without units for it is emulated.
    """
    if dtype == torch.float16 and device.type == "cpu":
        return "is many times slower on a CPU than fp32"
    if dtype == torch.bfloat16 and device.type == "cuda" and not _native_on_cuda(device):
        return "is only emulated on this GPU"
    return None


def _native_on_cuda(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device)[0] >= 8


def _native_on_cpu() -> bool:
    """Units for bf16: AVX512_BF16 or AMX."""
    if not torch.backends.mkldnn.is_available():
        return False
    return any(getattr(torch.cpu, probe, bool)() for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))


def device_of(name: str) -> torch.device:
    """Raises: ComposerError where this machine has no such device, or not as many."""
    count = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    if name == "auto":
        name = next(kind for kind, number in count.items() if number)
    kind, _, index = name.partition(":")
    if int(index or 0) >= count[kind]:
        reason = (
            f"this machine has {count[kind] or 'none'}, counted from 0"
            if index and count[kind]
            else "this machine has none"
        )
        there = [
            f"{each}:{i}" if index and number > 1 else each for each, number in count.items() for i in range(number)
        ]
        raise ComposerError("device", name, reason, dict.fromkeys(there))
    return torch.device(name)
