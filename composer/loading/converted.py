"""Converted weights, kept in the disk cache.

Weights whose file has the compute dtype are mapped into memory and read on use. Others must be read completely and
converted, which takes seconds and twice the memory. They are therefore cached after the first conversion.
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
from composer.compat.weights import without_weights
from composer.errors import ComposerError
from composer.loading import disk_cache, integrity

#: Kind of the entries in the disk cache.
KIND = "weights"
#: File beside a component's weights with the keys of the original files that it does not use.
UNUSED_KEYS_FILE = "extra_keys.json"
#: Size of a component's files from which converted weights are cached; smaller ones are converted fast enough.
MIN_BYTES = 64 << 20
#: Names of dtypes in safetensors files.
SAFETENSORS_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
#: Directory → how often its weights were converted and cached.
converted: Counter[str] = Counter()


def cached_dir_or_source(
    source: Path, library: str, dtype: torch.dtype, variant: str | None, load: Callable[..., Any]
) -> Path:
    """Return the directory to load a component from: its own, or a cached one with converted weights.

    Args:
        source: Directory of the component.
        library: Library of its class, ``diffusers`` or ``transformers``.
        dtype: Compute dtype.
        variant: Variant of the weights files; None for the default files.
        load: Loads the component from a directory, with the keyword ``variant``.

    Returns:
        The source where converting is fast enough to repeat, or where nothing can be cached.
    """
    if not _worth_caching(source, dtype, variant):
        return source

    def create(draft: Path) -> None:
        converted[str(source)] += 1
        model = load(str(source), variant=variant)
        model.save_pretrained(draft)
        if unused := getattr(model, integrity.UNUSED_KEYS):
            (draft / UNUSED_KEYS_FILE).write_text(json.dumps(unused))

    try:
        content, name = disk_cache.content_hash(source)[:40], str(dtype).removeprefix("torch.")
        key = (content, name, variant, library, import_module(library).__version__)
        return disk_cache.get_or_create(KIND, "-".join(filter(None, key)), create)
    except OSError:  # no space or no permission to write: a run must not fail for that
        return source


def read_converted(
    folder: Path, library: str, name: str, dtype: torch.dtype, load: Callable[[str], Any]
) -> torch.nn.Module | None:
    """Read a component from a cached directory.

    Args:
        folder: Directory in the disk cache.
        library: Library of its class.
        name: Name of its class.
        dtype: Dtype of the cached weights.
        load: Loads the component from a directory.

    Returns:
        The model; None if the entry is damaged, or was removed by another process.
    """
    try:
        model = _assign_weights(folder, library, name, dtype)
        if model is None:
            model = load(str(folder))
        unused = json.loads(file.read_text()) if (file := folder / UNUSED_KEYS_FILE).is_file() else ()
    except (ComposerError, SafetensorError, OSError, ValueError, RuntimeError, KeyError):
        with suppress(OSError):
            disk_cache.remove(folder)
        return None
    setattr(model, integrity.UNUSED_KEYS, tuple(unused))
    return model


def _assign_weights(folder: Path, library: str, name: str, dtype: torch.dtype) -> torch.nn.Module | None:
    """Build a model without memory and assign the cached weights, in half the time of the library's loader.

    None where it does not suffice, such as for buffers that no file holds.
    """
    cls = getattr(import_module(library), name)
    with without_weights(), _default_dtype(dtype):
        if library == "diffusers":
            model = cls.from_config(read_json(folder / "config.json"))
        else:
            model = cls(cls.config_class.from_pretrained(str(folder)))
    weights = {key: weight for file in folder.glob("*.safetensors") for key, weight in load_file(file).items()}
    if any(buffer.is_floating_point() and key not in weights for key, buffer in model.named_buffers()):
        return None
    _, unexpected = model.load_state_dict(weights, strict=False, assign=True)
    if library == "transformers":
        model.tie_weights()  # the files hold tied weights once
    return None if unexpected or integrity.unloaded_parameters(model) else model.eval()


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _worth_caching(source: Path, dtype: torch.dtype, variant: str | None) -> bool:
    """Whether the weights are large, and most of them have another dtype."""
    sizes: Counter[torch.dtype | None] = Counter()
    for file in weight_files(source, variant):
        for entry in read_header(file).values():
            begin, end = entry["data_offsets"]
            sizes[SAFETENSORS_DTYPES.get(entry["dtype"])] += end - begin
    return sizes.total() >= MIN_BYTES and sizes[dtype] < sizes.total() / 2 and sizes[None] == 0
