"""The steps of a training: batches, noise, loss, AdamW; what a step does depends on the seed and its number alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from composer.errors import ComposerError
from composer.families.base import Family
from composer.training.encoding import Captions, EncodedImage, predict
from composer.training.objectives import Objective
from composer.training.order import BatchOrder, derive_seed
from composer.training.spec import TrainSpec

#: Norm that gradients are cut to, and the weight decay: those of diffusers' training scripts.
MAX_GRADIENT_NORM, WEIGHT_DECAY = 1.0, 1e-2


def make_optimizer(weights: Sequence[nn.Parameter], spec: TrainSpec) -> torch.optim.Optimizer:
    """Make AdamW for the weights that learn.

    Args:
        weights: The weights.
        spec: Settings of the training.

    Returns:
        The optimizer.
    """
    return torch.optim.AdamW(list(weights), spec.lr, weight_decay=WEIGHT_DECAY)


def learning_rate(spec: TrainSpec, step: int) -> float:
    """Return the learning rate of a step.

    Args:
        spec: Settings of the training.
        step: The step, from 0.

    Returns:
        The rate; it is above 0 at every step.
    """
    warm = min(1.0, (step + 1) / (spec.warmup + 1))
    if spec.lr_schedule == "constant":
        return spec.lr * warm
    return spec.lr * warm * 0.5 * (1 + math.cos(math.pi * step / spec.steps))


@dataclass(frozen=True, kw_only=True)
class Loop:
    """All that the steps of a training need.

    Attributes:
        family: The models.
        spec: Settings of the training.
        images: The encoded images.
        captions: Embeddings of their captions.
        order: Their order.
        objective: Adds noise, and says what the denoiser is to predict.
        weights: What learns.
        optimizer: Its optimizer.
        accelerator: accelerate's device, dtype and backward pass.
    """

    family: Family
    spec: TrainSpec
    images: Sequence[EncodedImage]
    captions: Captions
    order: BatchOrder
    objective: Objective
    weights: Sequence[nn.Parameter]
    optimizer: torch.optim.Optimizer
    accelerator: Any

    def run(self, done: int) -> Iterator[float]:
        """Take the remaining steps.

        Args:
            done: Steps that are done.

        Yields:
            The loss of each step, after the weights have changed.

        Raises:
            ComposerError: The loss is not finite.
        """
        for step in range(done, self.spec.steps):
            loss = self._step(step)
            if not math.isfinite(loss):
                reason = f"the loss of step {step + 1} is {loss}: use a smaller one, or precision=fp32"
                raise ComposerError("lr", self.spec.lr, reason)
            yield loss

    def _step(self, step: int) -> float:
        losses = []
        for part in range(self.spec.accumulate):
            number = step * self.spec.accumulate + part
            loss = self._loss(number) / self.spec.accumulate
            self.accelerator.backward(loss)
            losses.append(float(loss.detach()))
        self.accelerator.clip_grad_norm_(self.weights, MAX_GRADIENT_NORM)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.spec, step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return sum(losses)

    def _loss(self, number: int) -> Tensor:
        """Weighted squared error of one batch."""
        generator = torch.Generator("cpu").manual_seed(derive_seed(self.spec.seed, "noise", number))
        batch = [self.images[index] for index in self.order.batch_at(number)]
        canvas = batch[0].canvas
        clean = torch.cat([image.latents for image in batch]).to(self.family.device)
        noisy = self.objective(clean, generator)
        dropped = torch.rand(len(batch), generator=generator) < self.spec.caption_dropout
        texts = ["" if drop else image.caption for image, drop in zip(batch, dropped.tolist(), strict=True)]
        with self.accelerator.autocast():
            embedding = self.captions.encode(texts, canvas)
            guess = predict(self.family, noisy.latents.to(clean.dtype), noisy.timesteps, embedding, canvas)
        errors = (guess.float() - noisy.target).square().flatten(1).mean(1)
        return (noisy.weights * errors).mean()
