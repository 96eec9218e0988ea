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
    described_by = str(checkpoint.described_by) if checkpoint.described_by else None
    where = str(checkpoint.path) if checkpoint.single_file or not checkpoint.commit else checkpoint.source
    try:
        return _load(where, checkpoint.layout.holder, dtype, device, checkpoint.commit, variant, described_by)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ComposerError("model.source", checkpoint.source, f"can't be loaded: {why}") from error


@lru_cache(maxsize=2)
def _load(
    where: str, holder: str, dtype: torch.dtype, device: torch.device, revision: str | None, variant: str | None, described_by: str | None
) -> Any:  # fmt: skip
    cls = getattr(diffusers, holder)
    if where.endswith(".safetensors"):
        return cls.from_single_file(where, config=described_by, torch_dtype=dtype).to(device)
    return cls.from_pretrained(where, revision=revision, torch_dtype=dtype, variant=variant, use_safetensors=True).to(device)
