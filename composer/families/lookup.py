"""Checkpoint → the class of its family."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from composer.families.base import Family

if TYPE_CHECKING:
    from composer.checkpoints.checkpoint import Checkpoint


def family_class(checkpoint: Checkpoint) -> type[Family]:
    """Import the class of a checkpoint's family.

    Args:
        checkpoint: A checkpoint whose family is known.

    Returns:
        The class, called with a diffusers pipeline and settings.
    """
    module, _, name = checkpoint.family_info.family.partition(":")
    return getattr(import_module(module), name)
