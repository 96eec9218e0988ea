"""Stable Diffusion in diffusers' layout → the single-file layout of its authors
(https://github.com/CompVis/latent-diffusion).

The inverse of what `from_single_file` does, so that a single file can be tested without downloading one.
"""

from __future__ import annotations

from pathlib import Path

from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from torch import Tensor

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def save(pipe: StableDiffusionPipeline, path: Path) -> Path:
    tensors = {
        f"model.diffusion_model.{unet_name(name, pipe.unet.config.layers_per_block)}": t
        for name, t in pipe.unet.state_dict().items()
    }
    levels = len(pipe.vae.config.block_out_channels)
    for name, tensor in pipe.vae.state_dict().items():
        tensors[f"first_stage_model.{vae_name(name, levels)}"] = as_convolution(name, tensor)
    for name, tensor in pipe.text_encoder.state_dict().items():
        bare = name.removeprefix("text_model.")
        tensors[f"cond_stage_model.transformer.text_model.{bare}"] = tensor
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path)
    return path


def unet_name(name: str, layers: int) -> str:
    for ours, theirs in ENDS.items():
        if name.startswith(f"{ours}."):
            return theirs + name[len(ours) :]
    side, *rest = name.split(".")
    if side == "mid_block":
        kind, j, *tail = rest
        return f"middle_block.{1 if kind == 'attentions' else 2 * int(j)}.{inner(kind, tail)}"
    i, kind, j, *tail = rest
    i, j = int(i), int(j)
    if side == "down_blocks":
        index = (layers + 1) * i + j + 1 if kind != "downsamplers" else (layers + 1) * (i + 1)
        part = {"resnets": "0", "attentions": "1", "downsamplers": "0.op"}[kind]
        return f"input_blocks.{index}.{part}.{inner(kind, tail)}"
    index = (layers + 1) * i + (j if kind != "upsamplers" else layers)
    part = {"resnets": "0", "attentions": "1", "upsamplers": "2" if i == 0 else "1"}[
        kind
    ]  # only the first up block attends
    return f"output_blocks.{index}.{part}.{'.'.join(tail) if kind == 'upsamplers' else inner(kind, tail)}"


def inner(kind: str, tail: list[str]) -> str:
    if kind == "resnets":
        return ".".join([RESNET[tail[0]], *tail[1:]])
    return ".".join(tail[1:] if kind == "downsamplers" else tail)


def vae_name(name: str, levels: int) -> str:
    parts = name.split(".")
    if parts[1] == "mid_block":
        kind, j, *tail = parts[2:]
        if kind == "attentions":
            inside = ".".join(tail[:-1])
            return f"{parts[0]}.mid.attn_1.{VAE_ATTENTION[inside]}.{tail[-1]}"
        return f"{parts[0]}.mid.block_{int(j) + 1}." + ".".join(tail).replace("conv_shortcut", "nin_shortcut")
    if parts[1] in ("down_blocks", "up_blocks"):
        i, kind, j, *tail = parts[2:]
        level = int(i) if parts[1] == "down_blocks" else levels - 1 - int(i)
        side = parts[1].removesuffix("_blocks")
        part = f"block.{j}" if kind == "resnets" else "downsample" if side == "down" else "upsample"
        return f"{parts[0]}.{side}.{level}.{part}." + ".".join(tail).replace("conv_shortcut", "nin_shortcut")
    return name.replace("conv_norm_out", "norm_out")


def as_convolution(name: str, tensor: Tensor) -> Tensor:
    """The VAE's attention was written with 1 × 1 convolutions."""
    return tensor[:, :, None, None] if ".attentions." in name and tensor.ndim == 2 else tensor
