"""Names of devices as torch writes them (`cuda`, `cuda:1`, `mps`), and checks of them that do not import torch."""

from __future__ import annotations

import ctypes
import re
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from composer.errors import ComposerError, suggest

DEVICE_TYPES = ("auto", "cpu", "cuda", "mps")
#: Types of which a machine can have several devices.
INDEXED_TYPES = ("cuda", "mps")
#: What a driver of NVIDIA's is loaded from, and the device of AMD's, on Linux.
CUDA_DRIVER, ROCM = "libcuda.so.1", "/dev/kfd"
_INDEXED = re.compile(rf"({'|'.join(INDEXED_TYPES)}):(0|[1-9]\d{{0,3}})")


def are_indexed_devices(value: str) -> bool:
    """Return whether a value of `device=` lists device names, at least one of them with an index.

    Args:
        value: One name, or several with commas between them.

    Returns:
        Whether all are names of devices and one has an index.
    """
    names = [name.strip() for name in value.split(",")]
    return any(map(_INDEXED.fullmatch, names)) and all(
        name in DEVICE_TYPES or _INDEXED.fullmatch(name) for name in names
    )


def parse_device(key: str, value: object) -> str:
    """Check the name of a device.

    Args:
        key: Config key, for the error.
        value: The name.

    Returns:
        The name.

    Raises:
        ComposerError: torch has no device of this name.
    """
    if isinstance(value, str) and (value in DEVICE_TYPES or _INDEXED.fullmatch(value)):
        return value
    hint = suggest(str(value).partition(":")[0], DEVICE_TYPES)
    raise ComposerError(key, value, f"is not known.{hint}", (*DEVICE_TYPES, "cuda:0", "cuda:1", "…"))


def refuse_unavailable(name: str) -> None:
    """Refuse a type of device that this machine cannot have, without importing torch.

    Args:
        name: Name of the device.

    Raises:
        ComposerError: torch was built without it, or it belongs to another operating system.
    """
    kind = name.partition(":")[0]
    why = {"cuda": _why_no_cuda(), "mps": None if sys.platform == "darwin" else "only Macs have one"}.get(kind)
    if why is not None:
        raise ComposerError("device", name, f"this machine has none: {why}", ["cpu"])


@cache
def _why_no_cuda() -> str | None:
    """Why torch is certain to find no GPU by CUDA or ROCm; None if it may."""
    if not built_for_cuda():
        return "the torch that is installed is built without CUDA"
    if sys.platform != "linux" or Path(ROCM).exists():
        return None
    try:
        ctypes.CDLL(CUDA_DRIVER)  # as torch does; its devices are not counted, which a fork would not survive
    except OSError:
        return f"no driver of a GPU is installed (neither {CUDA_DRIVER} nor {ROCM})"
    return None


@cache
def built_for_cuda() -> bool:
    """Read from torch's `version.py` whether it was built with CUDA or ROCm.

    Returns:
        Whether it was; `True` if the file cannot be read or does not contain it.
    """
    spec = find_spec("torch")
    file = Path(spec.origin).with_name("version.py") if spec and spec.origin else None
    try:
        text = file.read_text("utf-8") if file else ""
    except (OSError, UnicodeDecodeError):
        return True
    matches = (re.search(rf"^{name}\b[^=\n]*=\s*(\S+)", text, re.MULTILINE) for name in ("cuda", "hip"))
    versions = [match[1] for match in matches if match]
    return not versions or any(version != "None" for version in versions)


def is_on_cpu(device: str) -> bool:
    """Whether a run is certain to be on the CPU, by torch's files, the platform and drivers.

    Args:
        device: ``device=…``.
    """
    return device == "cpu" or (device == "auto" and _why_no_cuda() is not None and sys.platform != "darwin")
