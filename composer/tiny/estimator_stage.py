"""Stage 7: a small depth estimator, DPT (https://arxiv.org/abs/2103.13413), trained on the renderer's exact depth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DPTForDepthEstimation

from composer.tiny import networks
from composer.tiny.data import ImageSet
from composer.tiny.loop import Loop
from composer.tiny.render import FAR
from composer.tiny.vae_stage import pixels

#: Metres; nothing in an image is nearer.
NEAR = 1.4


def train(
    data: ImageSet, near: np.ndarray, work: Path, device: torch.device, steps: int, batch: int = 16
) -> DPTForDepthEstimation:
    """Train the depth estimator.

    Args:
        data: Images of the training set.
        near: (N, 64, 64), their inverse depth in 1/metres; the last 500 are kept for the report.
        work: Directory of the resumable state.
        device: Device to train on.
        steps: Number of training steps.
        batch: Images in a step.

    Returns:
        The estimator.
    """
    model = networks.to_device(networks.depth_estimator(), device)
    loop = Loop("estimator", model, work, steps=steps, lr=1.5e-3, average=0.99, plain=("embed", "token", "head"))
    size = near.shape[-1]

    def look(index: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, 64, 64) in [-1, 1] and their inverse depth, 0 at the sky and 1 at `NEAR`."""
        x = F.interpolate(pixels(data, index, device)[0], size=size, mode="area")
        y = torch.from_numpy(np.asarray(near[index.numpy()], np.float32)).to(device)
        return x, (y - 1 / FAR) / (1 / NEAR - 1 / FAR)

    def loss() -> Tensor:
        x, labels = look(torch.randint(0, len(near) - 500, (batch,)))
        x = x + torch.randn_like(x) * 0.05 * torch.rand(batch, 1, 1, 1, device=device)
        with torch.autocast(device.type, torch.bfloat16):
            guess = model(x).predicted_depth
        error = guess.float() - labels
        slopes = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        return error.abs().mean() + 0.5 * slopes

    held = look(torch.arange(len(near) - 128, len(near)))

    @torch.no_grad()
    def report() -> str:
        both = torch.stack([model(held[0]).predicted_depth.flatten(), held[1].flatten()])
        return f"correlation {torch.corrcoef(both)[0, 1]:.4f}"

    loop.run(loss, report)
    return model
