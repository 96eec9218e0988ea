"""IP-Adapters with random weights, in the formats that their authors publish, and an image encoder for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

#: Widths of the encoder: of its hidden states, and of its output.
HIDDEN, PROJECTED = 24, 16


def encoder(folder: Path) -> Path:
    torch.manual_seed(3)
    config = CLIPVisionConfig(
        hidden_size=HIDDEN, intermediate_size=37, projection_dim=PROJECTED, num_hidden_layers=3, num_attention_heads=4,
        image_size=32, patch_size=8,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).eval().save_pretrained(folder)
    return folder


def layers(unet: Any, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Weights of the cross-attention, numbered as in the original repository."""
    tensors, number = {}, 1
    for name, shape in ((name, value.shape) for name, value in unet.state_dict().items()):
        if name.endswith("attn2.to_k.weight"):
            tensors[name] = tuple(shape)
    order = [name for name in unet.attn_processors if "attn2" in name]
    weights: dict[str, torch.Tensor] = {}
    for name in order:
        shape = tensors[name.replace(".processor", ".to_k.weight")]
        for role in ("k", "v"):
            weights[f"ip_adapter.{number}.to_{role}_ip.weight"] = torch.randn(shape, generator=generator)
        number += 2
    return weights


def simple(width: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    shapes = {
        "proj.weight": (4 * width, PROJECTED),
        "proj.bias": (4 * width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    return {f"image_proj.{name}": torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def plus(width: int, generator: torch.Generator, inner: int = 64) -> dict[str, torch.Tensor]:
    shapes = {
        "latents": (1, 5, inner), "proj_in.weight": (inner, HIDDEN), "proj_in.bias": (inner,),
        "proj_out.weight": (width, inner), "proj_out.bias": (width,), "norm_out.weight": (width,),
        "norm_out.bias": (width,),
    }  # fmt: skip
    for n in range(4):
        shapes |= {f"layers.{n}.0.norm{i}.{part}": (inner,) for i in (1, 2) for part in ("weight", "bias")}
        shapes |= {f"layers.{n}.0.to_q.weight": (inner, inner), f"layers.{n}.0.to_kv.weight": (2 * inner, inner)}
        shapes |= {f"layers.{n}.0.to_out.weight": (inner, inner), f"layers.{n}.1.0.weight": (inner,)}
        shapes |= {f"layers.{n}.1.0.bias": (inner,), f"layers.{n}.1.1.weight": (4 * inner, inner)}
        shapes |= {f"layers.{n}.1.3.weight": (inner, 4 * inner)}
    return {f"image_proj.{name}": 0.2 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


KINDS = {"simple": simple, "plus": plus}


def adapter(unet: Any, path: Path, kind: str = "simple", seed: int = 0) -> Path:
    generator = torch.Generator().manual_seed(seed)
    tensors = {**KINDS[kind](unet.config.cross_attention_dim, generator), **layers(unet, generator)}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def image(path: Path, seed: int, mask: bool = False) -> Path:
    pixels = torch.randint(0, 256, (40, 56, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    picked = Image.fromarray(pixels.numpy())
    if mask:
        picked = Image.new("L", (64, 64), 0)
        picked.paste(255, (0, 0, 32, 64) if seed % 2 else (32, 0, 64, 64))
    picked.save(path)
    return path
