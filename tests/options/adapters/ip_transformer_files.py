"""IP-Adapters of transformers with random weights, in the formats that their authors publish."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ip_files
import torch
from diffusers.models.embeddings import IPAdapterTimeImageProjection
from safetensors.torch import save_file
from transformers import SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

#: diffusers' names of the projection → those of the published file.
_PUBLISHED = {
    "ln0": "0.norm1", "ln1": "0.norm2", "attn.to_q": "0.to_q", "attn.to_kv": "0.to_kv", "attn.to_out.0": "0.to_out",
    "adaln_norm": "1.0", "ff.net.0.proj": "1.1", "ff.net.2": "1.3", "adaln_proj": "2.1",
}  # fmt: skip


def siglip(folder: Path) -> Path:
    torch.manual_seed(3)
    config = SiglipVisionConfig(
        hidden_size=ip_files.HIDDEN, intermediate_size=37, num_hidden_layers=3, num_attention_heads=4, image_size=32,
        patch_size=8,
    )  # fmt: skip
    SiglipVisionModel(config).eval().save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def random(shapes: dict[str, tuple[int, ...]], seed: int, std: float = 0.5) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: std * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def flux(transformer: Any, path: Path, seed: int = 0, xlabs: bool = False) -> Path:
    config = transformer.config
    inner, text = transformer.inner_dim, config.joint_attention_dim
    shapes = {"proj.weight": (4 * text, ip_files.PROJECTED), "proj.bias": (4 * text,)}
    shapes |= {"norm.weight": (text,), "norm.bias": (text,)}
    begin = "ip_adapter_proj_model" if xlabs else "image_proj"
    tensors: dict[str, tuple[int, ...]] = {f"{begin}.{name}": shape for name, shape in shapes.items()}
    for layer in range(config.num_layers):
        for role in ("k", "v"):
            name = f"ip_adapter.{layer}.to_{role}_ip"
            if xlabs:
                name = f"double_blocks.{layer}.processor.ip_adapter_double_stream_{role}_proj"
            tensors |= {f"{name}.weight": (inner, text), f"{name}.bias": (inner,)}
    save_file(random(tensors, seed), path)
    return path


def sd3(transformer: Any, path: Path, seed: int = 0, published: bool = True) -> Path:
    inner, head, hidden = transformer.inner_dim, transformer.config.attention_head_dim, 64
    projection = IPAdapterTimeImageProjection(
        embed_dim=ip_files.HIDDEN, output_dim=inner, hidden_dim=hidden, heads=1, num_queries=3, timestep_in_dim=32
    )
    tensors: dict[str, tuple[int, ...]] = {}
    for name, tensor in projection.state_dict().items():
        for ours, theirs in _PUBLISHED.items() if published and name.startswith("layers.") else ():
            name = name.replace(f".{ours}.", f".{theirs}.")
        tensors[f"image_proj.{name}"] = tuple(tensor.shape)
    for layer in range(len(transformer.attn_processors)):
        tensors |= {f"ip_adapter.{layer}.to_{role}_ip.weight": (inner, inner) for role in ("k", "v")}
        tensors |= {f"ip_adapter.{layer}.norm_{part}.weight": (head,) for part in ("q", "k", "ip_k")}
        tensors |= {f"ip_adapter.{layer}.norm_ip.linear.weight": (2 * inner, hidden)}
        tensors |= {f"ip_adapter.{layer}.norm_ip.linear.bias": (2 * inner,)}
    save_file(random(tensors, seed, 0.2), path)
    return path
