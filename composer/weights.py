"""Checkpoint → a diffusers pipeline that holds the components, kept warm for the next run."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import diffusers
import torch

from composer.checkpoint import Checkpoint
from composer.components import Component
from composer.errors import ComposerError
from composer.quiet import hush_bars
from composer.sources import INDEX, read_json
from composer.targets import keywords_of


def load(checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device, variant: str | None = None) -> Any:
    """Load all components in `dtype`, from safetensors only.

    Raises:
        ComposerError: a file is missing or damaged.
    """
    hush_bars()
    described_by = str(checkpoint.described_by) if checkpoint.described_by else None
    where = str(checkpoint.path) if checkpoint.single_file or not checkpoint.commit else checkpoint.source
    swapped = tuple((name, *_place(component)) for name, component in checkpoint.swapped.items())
    try:
        return _load(
            where, checkpoint.holder, dtype, device, checkpoint.commit, variant, described_by, swapped, checkpoint.absent,
            checkpoint.safety_checker,
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ComposerError("model.source", checkpoint.source, f"can't be loaded: {why}") from error


def _one(
    dtype: torch.dtype, device: torch.device, library: str, cls: str, where: str, subfolder: str, revision: str | None, variant: str | None
) -> Any:
    """A component from elsewhere, shared like a checkpoint's own where it lies in a folder."""
    if revision is None and Path(where).is_dir() and issubclass(getattr(import_module(library), cls), torch.nn.Module):
        return _kept(Path(where, subfolder), library, cls, dtype, device, variant)
    return _component(dtype, library, cls, where, subfolder, revision, variant)


#: Models that some pipeline holds, by their files. loaded: how often a component was read from its folder.
_alive: WeakValueDictionary[Any, torch.nn.Module] = WeakValueDictionary()
loaded: Counter[str] = Counter()


def forget() -> None:
    """Load everything anew next time."""
    _load.cache_clear()
    _alive.clear()


def _place(component: Component) -> tuple[str, str, str, str, str | None, str | None]:
    """What identifies a component, as a key for the cache: library, class, place, subfolder, revision, variant."""
    part = component.part
    where, subfolder = (str(component.folder), "") if component.commit is None else (part.source, component.subfolder)
    return component.library, component.cls, where, subfolder, component.commit, part.variant


@lru_cache(maxsize=2)
def _load(
    where: str, holder: str, dtype: torch.dtype, device: torch.device, revision: str | None, variant: str | None,
    described_by: str | None, swapped: tuple[tuple[str, ...], ...], absent: tuple[str, ...], safety_checker: bool,
) -> Any:  # fmt: skip
    cls = getattr(diffusers, holder)
    parts = {name: _one(dtype, device, *place) for name, *place in swapped}
    parts.update(dict.fromkeys(set(absent) & keywords_of(cls.__init__)))  # such as SD3 without T5: diffusers wants to be told
    if not safety_checker and "safety_checker" in keywords_of(cls.__init__):
        parts.update(safety_checker=None, requires_safety_checker=False)
    if Path(where, INDEX).is_file():
        parts = {**_shared(Path(where), set(parts) | {"safety_checker"}, dtype, device, variant), **parts}
    if where.endswith(".safetensors"):
        return cls.from_single_file(where, config=described_by, torch_dtype=dtype, **parts).to(device)
    return cls.from_pretrained(where, revision=revision, torch_dtype=dtype, variant=variant, use_safetensors=True, **parts).to(device)


def _shared(folder: Path, without: set[str], dtype: torch.dtype, device: torch.device, variant: str | None) -> dict[str, torch.nn.Module]:
    """The models of a local checkpoint, each taken from whatever pipeline still holds it, as links between folders make it one."""
    found = {}
    for name, entry in read_json(folder / INDEX).items():
        library, cls = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
        if name in without or library not in ("diffusers", "transformers") or not (folder / name / "config.json").is_file():
            continue
        if issubclass(getattr(import_module(library), cls), torch.nn.Module):
            own = variant if variant and any((folder / name).glob(f"*.{variant}*")) else None
            found[name] = _kept(folder / name, library, cls, dtype, device, own)
    return found


def _kept(folder: Path, library: str, cls: str, dtype: torch.dtype, device: torch.device, variant: str | None) -> torch.nn.Module:
    key = _files(folder), library, cls, dtype, device, variant
    model = _alive.get(key)
    if model is None:
        loaded[str(folder)] += 1
        model = _alive[key] = _component(dtype, library, cls, str(folder), "", None, variant).to(device)
    return model


def _files(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """What a component is made of: links resolved, so that one file is one wherever it is named."""
    states = [(file.resolve(), file.stat()) for file in sorted(folder.iterdir()) if file.is_file()]
    return tuple((str(place), state.st_size, state.st_mtime_ns) for place, state in states)


def _component(
    dtype: torch.dtype, library: str, name: str, where: str, subfolder: str, revision: str | None, variant: str | None
) -> Any:  # fmt: skip
    cls = getattr(import_module(library), name)
    settings: dict[str, Any] = {"subfolder": subfolder, "revision": revision}
    if issubclass(cls, torch.nn.Module):
        settings.update(torch_dtype=dtype, variant=variant, use_safetensors=True)
    loaded = cls.from_pretrained(where, **settings)
    return loaded.eval() if isinstance(loaded, torch.nn.Module) else loaded
