"""Checkpoint → a diffusers pipeline that holds the components, kept warm for the next run."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import diffusers
import torch

from composer.checkpoint import Checkpoint
from composer.errors import ComposerError
from composer.quiet import hush_bars


def load(checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device, variant: str | None = None) -> Any:
    """Load all components in `dtype`, from safetensors only.

    Raises:
        ComposerError: a file is missing or damaged.
    """
    hush_bars()
    try:
        return _load(str(checkpoint.path), checkpoint.source, checkpoint.commit, checkpoint.layout.holder, dtype, device, variant)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ComposerError("model.source", checkpoint.source, f"can't be loaded: {why}") from error


@lru_cache(maxsize=2)
def _load(path: str, source: str, commit: str | None, holder: str, dtype: torch.dtype, device: torch.device, variant: str | None) -> Any:
    cls = getattr(diffusers, holder)
    if path.endswith(".safetensors"):
        return cls.from_single_file(path, torch_dtype=dtype).to(device)
    where, revision = (source, commit) if commit else (path, None)
    return cls.from_pretrained(where, revision=revision, torch_dtype=dtype, variant=variant, use_safetensors=True).to(device)
