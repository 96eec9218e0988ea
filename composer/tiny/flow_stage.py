"""Stage 10: the flow transformer, and its text encoder with it, on captions and on instructions.

Rectified flow (https://arxiv.org/abs/2209.03003) with logit-normal timesteps (https://arxiv.org/abs/2403.03206). The
first batches generate images from captions; later half of them edit: the image before the change follows as reference
tokens. A tenth of the texts are empty for classifier-free guidance; a reference stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl_flux2 import AutoencoderKLFlux2
from diffusers.models.transformers.transformer_flux2 import Flux2Transformer2DModel
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import Qwen2Tokenizer, Qwen3ForCausalLM

from composer.compat.annotations import latent_distribution
from composer.tiny import flow_networks, networks
from composer.tiny.data import captions
from composer.tiny.edits import Edit
from composer.tiny.flow_text_stage import instructions
from composer.tiny.flow_tokenizer import LENGTH, encode
from composer.tiny.loop import Loop

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

#: Fraction of texts that are left empty.
EMPTY = 0.1
#: Mean and deviation of the logit of a timestep in (0, 1), 1 being noise: the pipeline's own steps are mostly early.
TIMESTEPS = 0.9, 1.2
#: Lengths that texts are padded to, with their frequencies: short ones cost less, and none of them is relied upon.
LENGTHS, OFTEN = (22, 34, LENGTH), (0.65, 0.2, 0.15)
#: How much more the tokens that an edit changes count.
CHANGED = 2.0
#: Steps before the first edit, and the part of all steps that they may be.
FIRST, FIRST_PART = 200, 0.05
#: Ways to say an edit.
WAYS = 6


@dataclass(frozen=True)
class Texts:
    """Ways to say each of N things.

    Attributes:
        ids: Token ids (N, ways, LENGTH) int16.
        lengths: Tokens of each, (N, ways).
    """

    ids: Tensor
    lengths: Tensor


def train(
    before: Tensor, edited: Callable[[], Tensor], those: list[Edit], seed: int, encoder: Qwen3ForCausalLM,
    tokenizer: Qwen2Tokenizer, work: Path, device: torch.device, steps: int, batch: int = 32,
) -> Flux2Transformer2DModel:  # fmt: skip
    """Train the transformer together with the text encoder.

    Args:
        before: Normalized tokens of the scenes, (N, 64, 16).
        edited: Returns the tokens of the scenes after their edits, (N, 64, 16); called when the first one is due.
        those: The edits.
        seed: Seed of the set.
        encoder: The encoder of the learnt layers, trained on.
        tokenizer: Its tokenizer.
        work: Directory of the resumable state.
        device: Device to train on.
        steps: Number of training steps.
        batch: Edits in a step; half as many more of images alone, which are cheaper.

    Returns:
        The transformer.
    """
    transformer = networks.to_device(flow_networks.transformer(), device)
    model = nn.ModuleDict({"transformer": transformer, "text": networks.to_device(encoder, device).train()})
    loop = Loop(
        "flow",
        model,
        work,
        steps=steps,
        lr=2e-3,
        warmup=150,
        average=0.995,
        slow=("text.",),
        plain=("x_embedder", "proj_out"),
    )
    scenes = [edit.before for edit in those] + [edit.after for edit in those]
    described = _texts(tokenizer, work / "flow-captions.pt", lambda: captions(scenes, seed))
    instructed = _texts(tokenizer, work / "flow-instructions.pt", lambda: instructions(those, seed, WAYS))
    after = cache(edited)
    first = min(FIRST, int(FIRST_PART * steps))
    empty = encode(tokenizer, [""])
    pad = int(empty[0, -1])

    def loss() -> Tensor:
        edit = loop.done >= first and bool(torch.rand(()) < 0.5)
        count = batch if edit else batch + batch // 2
        pick = torch.randint(0, len(before), (count,))
        changed = edit or (loop.done >= first and bool(torch.rand(()) < 0.5))
        clean = (after() if changed else before)[pick].float().to(device)
        reference = before[pick].float().to(device) if edit else clean[:, :0]
        ids = _pick_texts(instructed, pick) if edit else _pick_texts(described, pick + changed * len(before))
        ids = torch.where(torch.rand(count, 1) < EMPTY, empty[:, : ids.shape[1]], ids).to(device)
        t, noise = timesteps(count).to(device), torch.randn_like(clean)
        noisy = torch.lerp(clean, noise, t.view(-1, 1, 1))
        with torch.autocast(device.type, torch.bfloat16):
            hidden = flow_networks.embed(encoder, ids, pad)
            guess = predict(transformer, noisy, reference, t, hidden)
        error = (guess.float() - (noise - clean)).square().mean(-1)
        if not edit:
            return error.mean()
        weight = 1 + CHANGED * ((clean - reference).abs().amax(-1) > 0.5).float()
        return (weight / weight.mean() * error).mean()

    with PlainAttention():
        loop.run(loss, every=50)
    return transformer


def predict(
    transformer: Flux2Transformer2DModel, noisy: Tensor, reference: Tensor, t: Tensor, hidden: Tensor
) -> Tensor:
    """Predict the velocity, noise minus image, as the pipeline does.

    Args:
        transformer: The transformer.
        noisy: Noisy tokens of square images, (B, N, C).
        reference: Tokens of square references, (B, M, C); M may be 0.
        t: Timesteps in (0, 1), (B,).
        hidden: Encoded texts, (B, L, D).

    Returns:
        (B, N, C).
    """
    positions = [
        flow_networks.positions(time, side, side)
        for time, tokens in ((0, noisy), (10, reference))
        if (side := round(tokens.shape[1] ** 0.5))
    ]
    out = transformer(
        hidden_states=torch.cat([noisy, reference], 1), timestep=t, encoder_hidden_states=hidden,
        img_ids=torch.cat(positions).to(noisy.device)[None],
        txt_ids=flow_networks.text_positions(hidden.shape[1]).to(noisy.device)[None], return_dict=False,
    )[0]  # fmt: skip
    return out[:, : noisy.shape[1]]


def timesteps(count: int) -> Tensor:
    """Sample logit-normal timesteps in (0, 1), stratified over the batch, which reduces the variance of the loss."""
    mean, deviation = TIMESTEPS
    part = (torch.arange(count) + torch.rand(count)) / count
    return torch.sigmoid(mean + deviation * torch.special.ndtri(part.clamp(1e-4, 1 - 1e-4)))


@torch.no_grad()
def tokens(vae: AutoencoderKLFlux2, images: Any, path: Path, device: torch.device) -> Tensor:
    """Encode images to packed latents, or open the file of an earlier call.

    Args:
        vae: The VAE; its batch norm is not applied.
        images: (N, S, S, 3) uint8.
        path: The file.
        device: Device to encode on.

    Returns:
        Patches of the latents, (N, S²/256, 16) float16.
    """
    if path.exists():
        return torch.load(path, weights_only=True)
    rows = []
    for start in range(0, len(images), 100):
        x = torch.from_numpy(images[start : start + 100]).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.autocast(device.type, torch.bfloat16):
            latents = latent_distribution(cast("AutoencoderKL", vae), x).mean  # which it is, with a batch norm behind
        rows.append(F.pixel_unshuffle(latents.float(), 2).flatten(2).transpose(1, 2).half().cpu())
    encoded = torch.cat(rows)
    torch.save(encoded, path)
    return encoded


@torch.no_grad()
def normalize(vae: AutoencoderKLFlux2, encoded: Tensor) -> None:
    """Measure the statistics of the VAE's batch norm.

    Args:
        vae: The VAE.
        encoded: Patches of its latents, (N, tokens, channels).
    """
    channels = encoded.float().flatten(0, 1)
    mean, variance = _statistics(vae)
    mean.copy_(channels.mean(0))
    variance.copy_(channels.var(0))


def normalized(vae: AutoencoderKLFlux2, encoded: Tensor) -> Tensor:
    """Normalize patches of latents as the pipeline does, in float16."""
    mean, variance = _statistics(vae)
    return ((encoded.float() - mean) / (variance + vae.config["batch_norm_eps"]).sqrt()).half()


def _statistics(vae: AutoencoderKLFlux2) -> tuple[Tensor, Tensor]:
    """Running mean and variance of the batch norm, which other batch norms may lack."""
    return cast("Tensor", vae.bn.running_mean), cast("Tensor", vae.bn.running_var)


class PlainAttention(TorchFunctionMode):
    """Computes attention by plain products: the backward of torch's own is slow on sequences this short."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention and kwargs.get("attn_mask") is None and not kwargs.get("enable_gqa"):
            return _attention(*args[:3], **{name: kwargs[name] for name in ("query", "key", "value") if name in kwargs})
        return func(*args, **kwargs)


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    weights = torch.softmax((query * query.shape[-1] ** -0.5) @ key.mT, dim=-1)
    return weights.to(value.dtype) @ value


def _texts(tokenizer: Qwen2Tokenizer, path: Path, describe: Callable[[], Sequence[Sequence[tuple[str, Any]]]]) -> Texts:
    """Tokenize all texts, which takes a minute, or open the file of an earlier call."""
    if not path.exists():
        ways = describe()
        ids = encode(tokenizer, [text for some in ways for text, _ in some]).view(len(ways), -1, LENGTH)
        torch.save(ids.to(torch.int16), path.with_suffix(".draft"))
        path.with_suffix(".draft").rename(path)
    ids = torch.load(path, weights_only=True)
    return Texts(ids, (ids != tokenizer.pad_token_id).sum(-1))


def _pick_texts(texts: Texts, pick: Tensor) -> Tensor:
    """One way to say each of those picked, among the ways that fit into a common length, (B, length)."""
    length = LENGTHS[int(torch.multinomial(torch.tensor(OFTEN), 1))]
    fitting = (texts.lengths[pick] <= length).float() + 1e-6
    way = torch.multinomial(fitting, 1)[:, 0]
    return texts.ids[pick, way, :length].long()
