"""Weights in other numbers than their files hold, kept for next time.

Weights whose file has the wanted dtype are mapped into memory and read as they are needed; any other must be read whole
and converted,
which takes seconds and holds them twice. So they are written down once they are converted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from composer.checkpoints.component_folder import weight_files
from composer.checkpoints.headers import read_header
from composer.checkpoints.index import read_json
from composer.errors import ComposerError
from composer.loading import disk_cache, integrity

KIND = "weights"
#: What a folder holds beside a component's files, where there were keys that it has no use for.
EXTRA = "extra_keys.json"
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
        model = load(str(where), variant=variant)
        model.save_pretrained(draft)
        if extra := getattr(model, integrity.EXTRA):
            (draft / EXTRA).write_text(json.dumps(extra))

    try:
        traits = (
            disk_cache.content(where)[:40],
            str(dtype).removeprefix("torch."),
            variant,
            library,
            import_module(library).__version__,
        )
        return disk_cache.keep(KIND, "-".join(filter(None, traits)), make)
    except OSError:  # no room or no right to write: a run must not fail for that
        return where


def read(
    folder: Path, library: str, name: str, dtype: torch.dtype, load: Callable[[str], Any]
) -> torch.nn.Module | None:
    """A component of a folder that `place` made; None where it was damaged since, or is gone.

    Args:
        name: of its class. load: folder → the component, as its library loads it.
    """
    try:
        model = _assigned(folder, library, name, dtype)
        if model is None:
            model = load(str(folder))
        extra = json.loads(file.read_text()) if (file := folder / EXTRA).is_file() else ()
    except (ComposerError, SafetensorError, OSError, ValueError, RuntimeError, KeyError):
        with suppress(OSError):
            disk_cache.remove(folder)
        return None
    setattr(model, integrity.EXTRA, tuple(extra))
    return model


def _assigned(folder: Path, library: str, name: str, dtype: torch.dtype) -> torch.nn.Module | None:
    """Built without numbers, then given those of the files, in which nothing is left to rename or convert: half the
    time of a library.

    None where that is not all: numbers that no file holds depend on how the library makes them.
    """
    from accelerate import init_empty_weights
    from transformers.initialization import no_init_weights

    cls = getattr(import_module(library), name)
    with no_init_weights(), init_empty_weights(include_buffers=False), _default(dtype):
        config = (
            read_json(folder / "config.json")
            if library == "diffusers"
            else cls.config_class.from_pretrained(str(folder))
        )
        model = cls.from_config(config) if library == "diffusers" else cls(config)
    filed = {key: weight for file in folder.glob("*.safetensors") for key, weight in load_file(file).items()}
    if any(buffer.is_floating_point() and key not in filed for key, buffer in model.named_buffers()):
        return None
    _, unexpected = model.load_state_dict(filed, strict=False, assign=True)
    if library == "transformers":
        model.tie_weights()  # of two that are one, the files hold one
    return None if unexpected or integrity.empty(model) else model.eval()


@contextmanager
def _default(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _gains(where: Path, dtype: torch.dtype, variant: str | None) -> bool:
    """Whether most of the weights are in another dtype, and are enough to matter."""
    sizes: Counter[torch.dtype | None] = Counter()
    for file in weight_files(where, variant):
        for entry in read_header(file).values():
            begin, end = entry["data_offsets"]
            sizes[FILED.get(entry["dtype"])] += end - begin
    return sizes.total() >= LEAST and sizes[dtype] < sizes.total() / 2 and sizes[None] == 0
