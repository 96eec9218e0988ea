"""Stage 9: teach the flow model's text encoder what captions and instructions state, before it sees any image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen2Tokenizer, Qwen3ForCausalLM

from composer.tiny import flow_networks, networks
from composer.tiny.data import captions, scenes
from composer.tiny.edit_pairs import edits
from composer.tiny.edits import KINDS, Edit
from composer.tiny.flow_tokenizer import encode
from composer.tiny.instructions import InstructionFacts, instruction
from composer.tiny.loop import Loop
from composer.tiny.scenes import COLOURS, GROUNDS, POSITIONS, SHAPES, SIZES, SKIES
from composer.tiny.text_stage import WAYS, labels_of

#: What an instruction can state, as `InstructionFacts`; each has one more label, for "not stated".
SLOTS: tuple[tuple[str, ...], ...] = (
    tuple(KINDS), COLOURS, SHAPES, POSITIONS, COLOURS, SHAPES, SIZES, POSITIONS, GROUNDS, SKIES
)  # fmt: skip
HEADS = [*WAYS, *(len(slot) + 1 for slot in SLOTS)]
UNKNOWN = -100  # what `cross_entropy` passes over: the captions' questions about an instruction, and the reverse


def train(
    tokenizer: Qwen2Tokenizer, work: Path, device: torch.device, steps: int = 500, batch: int = 64
) -> Qwen3ForCausalLM:
    """Train the encoder's learnt layers to predict the facts of a text at its last token.

    Args:
        tokenizer: The tokenizer.
        work: Directory of the resumable state.
        device: Device to train on.
        steps: Number of training steps.
        batch: Texts in a step, half of them captions.

    Returns:
        The encoder of the learnt layers.
    """
    encoder = networks.to_device(flow_networks.text_encoder(tokenizer), device)
    width = len(flow_networks.OUT_LAYERS) * flow_networks.WIDTH
    model = nn.ModuleDict({"encoder": encoder, "head": nn.Linear(width, sum(HEADS)).to(device)})
    loop = Loop("flow_text", model, work, steps=steps, lr=2e-3, plain=("head",))
    ids, labels = (t.to(device) for t in _examples(tokenizer, 4000, 11, "seen"))
    test_ids, test_labels = (t.to(device) for t in _examples(tokenizer, 150, 12, "held_out"))
    pad = ids[0, -1].item()

    def logits(some: Tensor) -> tuple[Tensor, ...]:
        length = (some != pad).sum(1)
        with torch.autocast(device.type, torch.bfloat16):
            hidden = flow_networks.embed(encoder, some[:, : int(length.max())], int(pad))
        last = hidden[torch.arange(len(some)), length - 1]
        return model["head"](last.float()).split(HEADS, -1)

    def loss() -> Tensor:
        half = len(ids) // 2
        pick = torch.cat([torch.randint(0, half, (batch // 2,)), torch.randint(half, len(ids), (batch // 2,))])
        losses = [F.cross_entropy(guess, labels[pick, k]) for k, guess in enumerate(logits(ids[pick]))]
        return torch.stack(losses).sum() / len(HEADS)

    @torch.no_grad()
    def report() -> str:
        answerable = test_labels != UNKNOWN
        right = torch.stack([g.argmax(-1) == test_labels[:, k] for k, g in enumerate(logits(test_ids))], 1)
        return f"held-out facts {right[answerable].float().mean():.4f}"

    loop.run(loss, report, every=100)
    return encoder


def instructions(those: list[Edit], seed: int, ways: int) -> list[list[tuple[str, InstructionFacts]]]:
    """Say each edit in several ways.

    Args:
        those: The edits of a set.
        seed: Seed of the set.
        ways: Number of instructions for each.

    Returns:
        For each edit its instructions, each with the facts that it states.
    """
    out = []
    for i, edit in enumerate(those):
        rng = np.random.default_rng((seed, i, 3))
        out.append([instruction(edit, rng) for _ in range(ways)])
    return out


def _examples(tokenizer: Qwen2Tokenizer, count: int, seed: int, pairs: str) -> tuple[Tensor, Tensor]:
    """As many instructions as captions: token ids and labels, captions first."""
    ways = 4
    described = [one for some in captions(scenes(count, seed, pairs), seed) for one in some[:ways]]
    instructed = [one for some in instructions(edits(count, seed, pairs), seed, ways) for one in some]
    texts = [text for text, _ in described] + [text for text, _ in instructed]
    labels = [labels_of(facts) + [UNKNOWN] * len(SLOTS) for _, facts in described]
    labels += [[UNKNOWN] * len(WAYS) + _labels(facts) for _, facts in instructed]
    return encode(tokenizer, texts), torch.tensor(labels)


def _labels(facts: InstructionFacts) -> list[int]:
    values = (facts.kind, *facts.meant, *facts.new, facts.ground, facts.sky)
    return [slot.index(value) if value else len(slot) for slot, value in zip(SLOTS, values, strict=True)]
