"""Weights in other numbers than their files hold, kept for next time.

Weights whose file has the wanted dtype are mapped into memory and read as they are needed; any other must be read whole and converted,
which takes seconds and holds them twice. So they are written down once they are converted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from composer import cache
from composer.sources import header

KIND = "weights"
#: Bytes in its files below which converting a component takes no time worth keeping it for.
LEAST = 64 << 20
#: Names of dtypes in safetensors files.
FILED = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
#: How often weights were converted and written down.
converted: Counter[str] = Counter()


def place(where: Path, library: str, dtype: torch.dtype, variant: str | None, load: Callable[..., Any]) -> Path:
    """The folder to load a component from: its own, or one that holds it in `dtype`, made now if there is none.

    Args:
        where: the component's folder. library: that it is of. variant: which of its files are meant.
        load: folder and variant → the component, converted.
    """
    if not _gains(where, dtype, variant):
        return where

    def make(draft: Path) -> None:
        converted[str(where)] += 1
        load(str(where), variant=variant).save_pretrained(draft)

    try:
        traits = (cache.content(where)[:40], str(dtype).removeprefix("torch."), variant, library, version(library))
        return cache.keep(KIND, "-".join(filter(None, traits)), make)
    except OSError:  # no room or no right to write: a run must not fail for that
        return where


def _gains(where: Path, dtype: torch.dtype, variant: str | None) -> bool:
    """Whether most of the weights are in another dtype, and are enough to matter."""
    sizes: Counter[torch.dtype | None] = Counter()
    for file in where.glob("*.safetensors"):
        if (variant is None) == (".fp16." not in file.name and ".bf16." not in file.name):
            for entry in header(file).values():
                begin, end = entry["data_offsets"]
                sizes[FILED.get(entry["dtype"])] += end - begin
    return sizes.total() >= LEAST and sizes[dtype] < sizes.total() / 2 and sizes[None] == 0
