"""The settings that a run passes to its family, and the result of decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from composer.media.medium import Medium


@dataclass(frozen=True, kw_only=True)
class FamilySettings:
    """How a run wants its family to compute.

    Attributes:
        device: Device that the models compute on; ``None`` for the one of the pipeline.
        upcast_vae: Whether the VAE decodes in fp32; ``"auto"`` only where 16 bits overflow.
        long_prompts: Whether a prompt longer than the text encoder reads is truncated, or read in chunks.
        prompt_syntax: Whether prompts are literal text, or have words with weights.
    """

    device: torch.device | None = None
    upcast_vae: bool | Literal["auto"] = "auto"
    long_prompts: Literal["truncate", "chunk"] = "truncate"
    prompt_syntax: Literal["text", "weights"] = "text"


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """The result of decoding latents.

    Attributes:
        media: RGB images, or clips, or sounds: one for each row of the latents.
        flagged: For each image whether the checkpoint's safety checker replaced it; empty without a checker.
        notes: Notes for the user, such as a second decoding in fp32.
    """

    media: Sequence[Medium]
    flagged: tuple[bool, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def images(self) -> list[Image]:
        """The images; of a clip its poster, of a sound its waveform."""
        from composer.media.medium import poster

        return [poster(medium) for medium in self.media]
