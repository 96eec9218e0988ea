"""Z-Image: a single-stream transformer whose prompts are encoded by Qwen3. https://arxiv.org/abs/2511.22699"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from composer.callbacks.base import Embedding, Step
from composer.families.chat import chat_limit, chat_tokens
from composer.families.flow import FlowTransformer
from composer.sampling.guidance import Branches

#: Most tokens of a prompt with its chat template; diffusers' default.
MAX_TOKENS = 512


class ZImage(FlowTransformer):
    """Latents `(B, 16, H/8, W/8)`, in fp32 for every dtype. Time and prediction have the opposite sign in the model."""

    fp32_latents = True
    inpaints_contiguous = False

    def tokens(self, prompt: str) -> list[str]:
        return chat_tokens(self.pipe.tokenizer, prompt, MAX_TOKENS, enable_thinking=True)

    @property
    def prompt_tokenizer(self) -> tuple[Any, int] | None:
        return self.pipe.tokenizer, chat_limit(self.pipe.tokenizer, MAX_TOKENS, enable_thinking=True)

    def embed(self, texts: list[str]) -> Embedding:
        rows, _ = self.pipe.encode_prompt(texts, self.device, False, max_sequence_length=MAX_TOKENS)
        ones = [torch.ones(len(row), dtype=torch.bool, device=row.device) for row in rows]
        return self.embedding(pad_sequence(rows, batch_first=True), mask=pad_sequence(ones, batch_first=True))

    def predict(self, step: Step) -> Branches:
        """Evaluate both branches in one batch, the prompts first; each row keeps its own length."""
        conditioning = step.conditioning
        branches = [branch for branch in (conditioning.require_positive(), conditioning.negative) if branch is not None]
        latents = torch.cat([step.model_input] * len(branches)).to(self.dtype)
        predictions = self._evaluate(step, latents, [row for branch in branches for row in _rows(branch)])
        positive, *negative = predictions.chunk(len(branches))
        return Branches(positive, negative[0] if negative else None, combine=self.combine)

    def forward(self, step: Step, latents: Tensor, embedding: Embedding) -> Tensor:
        return self._evaluate(step, latents, _rows(embedding))

    def _evaluate(self, step: Step, latents: Tensor, rows: list[Tensor]) -> Tensor:
        timestep = (1000 - step.timestep.expand(len(latents))) / 1000
        images = list(latents.unsqueeze(2).unbind(0))  # the model takes lists, with a frame axis
        predictions = self.pipe.transformer(images, timestep, rows, return_dict=False)[0]
        return -torch.stack([prediction.float() for prediction in predictions]).squeeze(2)

    @classmethod
    def sigmas(cls, steps: int) -> list[float]:
        return torch.linspace(1.0, 1 / steps, steps).tolist()  # numpy's have other last bits

    @staticmethod
    def combine(positive: Tensor, negative: Tensor, scale: float) -> Tensor:
        return positive + (scale - 1) * (positive - negative)  # diffusers' scale is one less: 0 is no guidance


def _rows(embedding: Embedding) -> list[Tensor]:
    """Hidden states of each text without padding, `(tokens, width)`."""
    if embedding.mask is None:
        return list(embedding.hidden)
    return [hidden[mask] for hidden, mask in zip(embedding.hidden, embedding.mask)]
