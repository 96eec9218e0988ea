"""What a run tells its family when it makes it, and what a family's decoding gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


@dataclass(frozen=True, kw_only=True)
class FamilySettings:
    """How a run wants its family to work.

    device: where the models compute; None asks the pipeline. upcast_vae: whether the VAE decodes in fp32: true, false,
    or `auto`
    where 16 bits overflow. long_prompts: whether a prompt longer than its encoder reads is cut, or read in chunks.
    """

    device: torch.device | None = None
    upcast_vae: bool | Literal["auto"] = "auto"
    long_prompts: Literal["truncate", "chunk"] = "truncate"


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What latents were decoded to.

    images: RGB. flagged: for each image whether the checkpoint's safety checker replaced it; empty where there is no
    checker.
    notes: what the user should know, such as a second decoding in fp32.
    """

    images: list[Image]
    flagged: tuple[bool, ...] = ()
    notes: tuple[str, ...] = ()
