"""Check of sizes against the positions that a denoiser knows: beyond them its table or its frequencies end."""

from __future__ import annotations

from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.layouts import FamilyInfo, families
from composer.errors import ComposerError
from composer.tasks.base import SIDES


def refuse_beyond(request: Request, checkpoint: Checkpoint) -> None:
    """Refuse sizes for which the denoiser has no positions, such as 4096 pixels for Stable Diffusion 3 with 192 rows.

    Args:
        request: The request.
        checkpoint: The checkpoint, native or hosted.

    Raises:
        ComposerError: A side is longer.
    """
    info = _known(checkpoint)
    if info is None or info.positions is None:
        return
    pixels = checkpoint.vae_scale_factor * info.size_multiple
    most = [tokens * pixels for tokens in info.positions(checkpoint.configs.get(info.denoiser[0], {}))]
    for sides in request.sizes:
        for key, side, limit in zip(SIDES, sides, most, strict=True):
            if side > limit:
                raise ComposerError(key, side, f"the model has positions for at most {limit} pixels: generate smaller")


def _known(checkpoint: Checkpoint) -> FamilyInfo | None:
    """The family that has the denoiser's class, which a hosted pipeline may share."""
    for info in families().values():
        component, name = info.denoiser
        if checkpoint.classes.get(component) == name:
            return info
    return None
