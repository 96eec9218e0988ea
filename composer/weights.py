"""Checkpoint → a diffusers pipeline that holds the components, kept warm for the next run."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

import diffusers
import torch

from composer.checkpoint import Checkpoint
from composer.components import Component
from composer.errors import ComposerError
from composer.quiet import hush_bars
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


def forget() -> None:
    """Load everything anew next time."""
    _load.cache_clear()


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
    parts = {name: _component(dtype, *place) for name, *place in swapped}
    parts.update(dict.fromkeys(set(absent) & keywords_of(cls.__init__)))  # such as SD3 without T5: diffusers wants to be told
    if not safety_checker and "safety_checker" in keywords_of(cls.__init__):
        parts.update(safety_checker=None, requires_safety_checker=False)
    if where.endswith(".safetensors"):
        return cls.from_single_file(where, config=described_by, torch_dtype=dtype, **parts).to(device)
    return cls.from_pretrained(where, revision=revision, torch_dtype=dtype, variant=variant, use_safetensors=True, **parts).to(device)


def _component(
    dtype: torch.dtype, library: str, name: str, where: str, subfolder: str, revision: str | None, variant: str | None
) -> Any:  # fmt: skip
    cls = getattr(import_module(library), name)
    settings: dict[str, Any] = {"subfolder": subfolder, "revision": revision}
    if issubclass(cls, torch.nn.Module):
        settings.update(torch_dtype=dtype, variant=variant, use_safetensors=True)
    loaded = cls.from_pretrained(where, **settings)
    return loaded.eval() if isinstance(loaded, torch.nn.Module) else loaded
